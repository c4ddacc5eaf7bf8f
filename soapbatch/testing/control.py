"""The control API of `soapbatch serve --control`: what a test in another language can ask of the embedded server.

    GET  /_control/calls                      the calls so far; ?operation=StartBatchJob: those of one operation
    GET  /_control/jobs                       the names of the jobs that can be started
    POST /_control/jobs                       {"Export": {"duration": 60, "outcome": "Failed"}}: defines jobs
    POST /_control/script                     {"operation": "StartBatchJob", "steps": ["lost_reply", null]}
    POST /_control/advance                    {"seconds": 3600}: moves the server's clock
    POST /_control/reset                      begins anew, without tasks, tickets, calls, scripts and jobs of one's own

The steps of a script: null (the call runs undisturbed), "lost_request", "lost_reply", "cut_reply", {"delayed": 2},
{"answering": {"status": 429, "headers": {"Retry-After": "3"}, "body": ""}}, and
{"failing": {"type": "SuperOffice.Exceptions.SoException", "message": "No", "friendly_text": "No"}}.

An answer is JSON: 200 with what was asked for, or 400 with {"error": "..."}. Bodies are sent as application/json, which
no web page can send to another host without being asked; and the Host header must name this machine, so that no page
reaches the server by another name.
"""

import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import attrs

from soapbatch.errors import SoapBatchError, UsageError
from soapbatch.testing.expectations import is_carrier
from soapbatch.testing.faults import Refusal, ServerException
from soapbatch.testing.interceptors import (
    Call,
    Interceptor,
    answering,
    cut_reply,
    delayed,
    failing,
    lost_reply,
    lost_request,
)
from soapbatch.testing.job_definitions import JobDefinition
from soapbatch.testing.server import NetServer, Receive, Scope, Send, headers_of, read_body

CONTROL_PATH: Final = "/_control"
"""Before the name of a command."""

_NAMED: Final[Mapping[str, Interceptor]] = {
    "lost_request": lost_request,
    "lost_reply": lost_reply,
    "cut_reply": cut_reply,
}
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


class _WrongRequest(Exception):
    """A request to the control API is wrong. `status`: the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DrivenClock:
    """A clock that runs at a speed, and can be moved forward too."""

    def __init__(self, speed: float) -> None:
        """Begin at 0.

        Args:
            speed: seconds of this clock in one real second; 0: it stands still.
        """
        self._speed = speed
        self._start = time.monotonic()
        self._advanced = 0.0

    def __call__(self) -> float:
        """Return the clock's seconds."""
        return (time.monotonic() - self._start) * self._speed + self._advanced

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass.

        Raises:
            UsageError: `seconds` is negative.
        """
        if seconds < 0:
            raise UsageError("a clock does not go back: advance by zero seconds or more")
        self._advanced += seconds


@attrs.frozen
class Control:
    """An ASGI app that answers the control API, and passes every other request on to the server.

    Attributes:
        server: the server.
        clock: of the server.
        jobs: those that the server has after a reset, by name.
    """

    server: NetServer
    clock: DrivenClock
    jobs: Mapping[str, JobDefinition] = attrs.field(factory=dict[str, JobDefinition])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (the ASGI interface)."""
        path: str = scope["path"]
        if not path.startswith(f"{CONTROL_PATH}/"):
            await self.server(scope, receive, send)
            return
        status, answer = await self._status_and_answer(scope, path.removeprefix(f"{CONTROL_PATH}/"), receive)
        body = json.dumps(answer, default=str).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _status_and_answer(self, scope: Scope, command: str, receive: Receive) -> tuple[int, Any]:
        try:
            return 200, await self._answer(scope, command, receive)
        except _WrongRequest as wrong:
            return wrong.status, {"error": str(wrong)}
        except Refusal as refusal:
            return refusal.answer.status, {"error": "the body is too large"}
        except SoapBatchError as error:
            return 400, {"error": str(error)}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return 400, {"error": f"the body is not as `help(soapbatch.testing.control)` says: {error!r}"}

    async def _answer(self, scope: Scope, command: str, receive: Receive) -> Any:
        headers = headers_of(scope)
        host = headers.get("host", "")
        if (host if host.endswith("]") else host.rpartition(":")[0] or host) not in _LOOPBACK:
            raise _WrongRequest(403, "the control API is for this machine alone")
        body = await read_body(receive)
        if scope["method"] == "GET" and command == "calls":
            operation = parse_qs(scope["query_string"].decode("latin-1")).get("operation", [None])[0]
            return [_as_json(call) for call in self.server.calls_of(operation)]
        if scope["method"] == "GET" and command == "jobs":
            return sorted(self.server.tasks.jobs)
        commands = {"jobs": self._define, "script": self._script, "advance": self._advance, "reset": self._reset}
        if command not in commands:
            raise _WrongRequest(404, f"there is no {CONTROL_PATH}/{command}")
        if scope["method"] != "POST":
            raise _WrongRequest(405, f"{CONTROL_PATH}/{command} takes POST")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _WrongRequest(415, "send the body as application/json")
        try:
            values = json.loads(body or b"{}")
        except ValueError as error:
            raise _WrongRequest(400, f"the body is not JSON: {error}") from None
        return commands[command](values)

    def _define(self, values: Mapping[str, Any]) -> dict[str, Any]:
        made = {name: JobDefinition.of_values(name, fields) for name, fields in values.items()}
        self.server.tasks.jobs.update(made)
        return {"defined": sorted(made)}

    def _script(self, values: Mapping[str, Any]) -> dict[str, Any]:
        steps = [_step(step) for step in values["steps"]]
        self.server.script(values.get("operation"), steps)
        return {"steps": len(steps)}

    def _advance(self, values: Mapping[str, Any]) -> dict[str, Any]:
        self.clock.advance(float(values["seconds"]))
        return {"seconds": self.clock()}

    def _reset(self, _: Any) -> dict[str, Any]:
        self.server.reset()
        self.server.tasks.jobs.update(self.jobs)
        return {}


def _step(step: Any) -> Interceptor | None:
    """Return the interceptor that a step of a script names."""
    if step is None:
        return None
    if isinstance(step, str):
        return _NAMED[step]
    ((name, value),) = step.items()
    match name:
        case "delayed":
            return delayed(float(value))
        case "answering":
            return answering(int(value["status"]), value.get("headers"), value.get("body", "").encode())
        case "failing":
            return failing(ServerException(value["type"], value["message"], value.get("friendly_text", "")))
        case _:
            raise UsageError(f"there is no step {name}: there are {', '.join(_NAMED)}, delayed, answering and failing")


def _as_json(call: Call) -> dict[str, Any]:
    return {
        "operation": call.operation,
        "version": int(call.version),
        "binding": call.binding.name,
        "arguments": {name: _plain(value) for name, value in call.arguments.items()},
        "at": call.at,
        "outcome": call.outcome,
    }


def _plain(value: Any) -> Any:
    """Return a value of a call as JSON has it: a carrier as an object of the fields that were sent."""
    if is_carrier(value):
        fields = attrs.asdict(value, recurse=False)
        return {name: _plain(field) for name, field in fields.items() if field is not None}
    return value
