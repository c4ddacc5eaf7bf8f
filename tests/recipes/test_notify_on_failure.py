"""The recipe of a notification: a webhook on a socket, old and new failures, and a webhook that is down."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState
from soapbatch.testing import NetServer, ServerException, failing, serve
from tests.recipes import notify_on_failure
from tests.recipes.notify_on_failure import Seen, announce
from tests.support.clients import in_process, until

FAILED = BatchTaskInfo(name="Export", state=BatchTaskState.FAILED, result="No such archive")


class Webhook:
    """An ASGI app that takes messages.

    Attributes:
        status: what it answers.
        texts: of the messages that it took.
    """

    def __init__(self) -> None:
        """Begin without messages."""
        self.status, self.texts = 200, list[str]()

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        """Take one message."""
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event["body"], event.get("more_body", False)
        if self.status < 300:
            self.texts.append(json.loads(body)["text"])
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_each_failure_is_announced_once(tmp_path: Path) -> None:
    """Old ones are only noted; a webhook that is down gets the message in the next round; a restart repeats none."""
    server, webhook, path = NetServer(), Webhook(), tmp_path / "seen"
    server.tasks.add(FAILED)
    server.tasks.add(BatchTaskInfo(name="Export", state=BatchTaskState.SUCCEEDED))
    async with serve(webhook) as url, in_process(server) as client, httpx.AsyncClient() as http:
        seen = Seen(path)
        assert await announce(client, http, url, seen) == 0
        server.tasks.add(FAILED)
        webhook.status = 503
        with pytest.raises(httpx.HTTPStatusError):
            await announce(client, http, url, seen)
        webhook.status = 200
        assert await announce(client, http, url, seen) == 1
        server.tasks.add(BatchTaskInfo(name="Import", state=BatchTaskState.FAILED))
        assert await announce(client, http, url, Seen(path)) == 1
        assert await announce(client, http, url, Seen(path)) == 0
    assert webhook.texts == [
        "Batch job Export (task 3) has failed: No such archive",
        "Batch job Import (task 4) has failed: the server gives no reason",
    ]
    assert path.read_text("utf-8") == "1\n3\n4\n"


async def test_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The program outlives a server that does not answer and a webhook that refuses."""
    monkeypatch.setattr(notify_on_failure, "PAUSE", 0.01)
    server, webhook, path = NetServer(), Webhook(), tmp_path / "seen"
    path.write_text("")
    server.tasks.add(FAILED)
    webhook.status = 500
    async with serve(server) as url, serve(webhook) as target:
        for name, value in {"URL": url, "USER": "demo", "PASSWORD": "demo"}.items():
            monkeypatch.setenv(f"SOAPBATCH_{name}", value)
        running = asyncio.create_task(notify_on_failure.main(path, target))
        said: list[str] = []

        def is_said(words: str) -> bool:
            said.append(capsys.readouterr().err)
            return words in "".join(said)

        await until(lambda: is_said("HTTPStatusError"))
        refusing = failing(ServerException("SoSentryException", "No right"))
        server.intercept("GetAllBatchTaskInfosByNameAndState", refusing)
        await until(lambda: is_said("OperationFailed"))
        webhook.status = 200
        await until(lambda: webhook.texts)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert webhook.texts == ["Batch job Export (task 1) has failed: No such archive"]
