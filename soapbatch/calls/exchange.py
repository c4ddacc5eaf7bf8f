"""One request and its answer: sent, read piece by piece, judged, told of, and closed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import attrs

from soapbatch.calls.observability import WANTED, WIRE, Hooks, RequestEvent, ResponseEvent, announce, conclude
from soapbatch.errors import SoapBatchError
from soapbatch.model import Binding, Limits, ReplyHeader, Retries, Secret, ServiceVersion, SoTimeZone
from soapbatch.operations import Operation
from soapbatch.soap import CHUNK, Request, ResponseParser, UnknownCallback, interpret
from soapbatch.transport import HttpReply, HttpRequest, Progress, Transport, decoded

_READS_IN_A_ROW: Final = 16  # of small pieces that are there already


@attrs.frozen(kw_only=True)
class Settings:
    """What is the same for every call of a client; `Client` documents each."""

    base_url: str
    path_prefix: str
    version: ServiceVersion
    binding: Binding | None
    application_token: Secret | None
    time_zone: SoTimeZone | None
    timeout: float | None
    limits: Limits
    retries: Retries
    hooks: Hooks
    on_unknown: UnknownCallback
    session_errors: frozenset[str]
    allow_insecure: bool


class Exchange:
    """A request on its way. Open it, read until None, judge, and close it whatever happened."""

    def __init__(
        self,
        operation: Operation[Any],
        request: Request,
        settings: Settings,
        progress: Progress,
        *,
        attempt: int,
        secrets: tuple[Secret, ...],
        collect: bool,
    ) -> None:
        """Prepare to send `request`; nothing happens yet."""
        self._operation = operation
        self._request = request
        self._settings = settings
        self._progress = progress
        self._secrets = secrets
        self._collect = collect
        self._event = RequestEvent(
            operation=operation.name,
            version=settings.version,
            binding=request.binding,
            attempt=attempt,
            url=f"{settings.base_url}{request.path}",
            bytes_sent=len(request.body),
        )
        self._started = asyncio.get_running_loop().time()
        self._reply: HttpReply | None = None
        self._received = 0
        self._reads = 0
        self._shown = b""
        self._is_closed = False
        self.header: ReplyHeader | None = None

    async def open(self, transport: Transport) -> None:
        """Send the request and wait for the head of the answer."""
        settings = self._settings
        announce(settings.hooks, self._event, self._request, self._secrets)
        hook = settings.hooks.headers
        http_request = HttpRequest(
            url=self._event.url,
            headers=_merged(hook() if hook is not None else {}, self._request.headers),
            body=self._request.body,
        )
        self._reply = reply = await transport.send(http_request, self._progress)
        self._chunks: AsyncGenerator[bytes, None] = decoded(reply, settings.limits)
        self._parser = ResponseParser(
            self._operation,
            settings.version,
            limits=settings.limits,
            content_type=reply.headers.get("content-type"),
            on_unknown=settings.on_unknown,
            collect=self._collect,
        )

    async def read(self) -> list[Any] | None:
        """Return the items that the next piece of the answer completes; None at its end."""
        self._reads += 1
        if self._received >= CHUNK or self._reads % _READS_IN_A_ROW == 0:
            await asyncio.sleep(0)  # a long answer must not keep the event loop to itself
        if self._parser.problem is not None:
            return None
        chunk = await anext(self._chunks, None)
        if chunk is None:
            return None
        self._received += len(chunk)
        if WIRE.isEnabledFor(logging.DEBUG):
            self._shown += chunk[: WANTED - len(self._shown)]
        return self._parser.feed(chunk)

    def judge(self) -> Any:
        """Return the result, or raise what the answer means."""
        assert self._reply is not None  # noqa: S101 - open() came first
        outcome = self._parser.close()
        retry_after = _retry_after(self._reply.headers)
        header = outcome.header
        try:
            result = interpret(
                self._operation, outcome, self._reply.status, retry_after=retry_after, secrets=self._secrets
            )
        except SoapBatchError as error:
            del outcome, header  # what the server said is masked in the error, and nowhere below
            raise error.with_traceback(None) from error.__cause__
        self.header = header
        return result

    async def close(self, outcome: str) -> None:
        """Give the connection back and tell how it ended. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        event = ResponseEvent(
            request=self._event,
            status=None if self._reply is None else self._reply.status,
            bytes_received=self._received,
            milliseconds=(asyncio.get_running_loop().time() - self._started) * 1000,
            outcome=outcome,
        )
        try:
            if self._reply is not None:
                await self._chunks.aclose()
                await self._reply.aclose()
        finally:
            conclude(self._settings.hooks, event, self._shown, self._secrets)


def _merged(extra: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return `extra` and `own` headers; where they name the same, in whatever case, `own` holds."""
    names = {name.lower() for name in own}
    return {name: value for name, value in extra.items() if name.lower() not in names} | dict(own)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, which gives them or a date."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return max(0.0, (at - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
