"""One request and its response: sent, read piece by piece, interpreted, logged, and closed whatever happened."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from soapbatch.calls.hooks import RequestEvent
from soapbatch.calls.logs import is_exchange_wanted, log_response
from soapbatch.calls.observation import Observation
from soapbatch.calls.recorder import Recorder, header_secrets
from soapbatch.calls.settings import Settings
from soapbatch.errors import ProtocolError, ServiceError, TransportError, UnreadableResponse, clean_traceback
from soapbatch.model import KIB, ReplyHeader, Secret, parse_retry_after
from soapbatch.operations import Operation
from soapbatch.soap import CHUNK, ParsedResponse, Problem, Request, ResponseParser, interpret
from soapbatch.transport import Decompressor, HttpResponse, Sender, SendState, merged_headers

_FIRST_STEP: Final = 4 * KIB  # bytes that are parsed at once, to begin with
_SMALLEST_STEP: Final = KIB
_SLOW: Final = 0.003  # seconds of parsing after which other tasks get their turn
_READS_IN_A_ROW: Final = 16  # of pieces that are there already, before other tasks get their turn
# HTTP statuses that decide alone: the body of such a response gives an error no more than an excerpt.
_BODY_SAYS_LITTLE: Final = frozenset({401, 403, 413, 415, 421, 429, 503})
_LITTLE_BODY_TIMEOUT: Final = 5.0  # seconds that such a body may take; then the status decides without it


class Exchange:
    """A request on its way: `send` it, `receive` and `read` the response, take the `result`; `close` it in any case.

    Attributes:
        header: the header blocks of the reply, once there is a result.
    """

    def __init__(
        self,
        operation: Operation[Any],
        request: Request,
        settings: Settings,
        *,
        base_url: str,
        attempt: int,
        secrets: tuple[Secret, ...],
        collect: bool,
        advise_binding: bool,
        observe: Callable[[RequestEvent], Observation | None],
    ) -> None:
        """Prepare to send `request`; nothing happens yet.

        Args:
            operation: whose request it is.
            request: headers and envelope.
            settings: of the client.
            base_url: of the server, now.
            attempt: 1 for the first request of a call.
            secrets: that the request holds: masked wherever the exchange is shown.
            collect: whether a list is part of the result; else `read` returns its items.
            advise_binding: whether an error may advise another binding, as no binding has worked yet.
            observe: begins the scope of the caller's hook, if there is one.
        """
        self._operation = operation
        self._request = request
        self._settings = settings
        self._secrets = secrets
        self._collect = collect
        self._advise_binding = advise_binding
        self._observe = observe
        self._observation: Observation | None = None
        self._event = RequestEvent(
            operation=operation.name,
            version=settings.version,
            binding=request.binding,
            attempt=attempt,
            url=f"{base_url}{request.path}",
            bytes_sent=len(request.body),
        )
        self._now = asyncio.get_running_loop().time  # an exchange may be closed when the loop runs no more
        self._started = self._now()
        self._response: HttpResponse | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._problem: Problem | None = None
        self._received = self._reads = 0
        self._rest = b""
        self._step = _FIRST_STEP
        self._busy = 0.0  # seconds of parsing since other tasks had their turn
        self._recorder = Recorder(request)
        self._body_ends: float | None = None
        self._is_closed = False
        self.header: ReplyHeader | None = None

    def send(self, sender: Sender, state: SendState) -> Coroutine[Any, Any, HttpResponse]:
        """Send the request and return the head of the response, for `receive`."""
        settings, request = self._settings, self._request
        observation = self._observation = self._observe(self._event)
        hooks = settings.hooks
        if hooks.on_request is not None:
            hooks.on_request(self._event)
        extras: list[Mapping[str, str]] = [] if observation is None else [observation.scope.headers]
        if hooks.headers is not None:
            extras.append(hooks.headers())
        headers = merged_headers(request.headers, *extras)
        if extras:
            self._secrets += header_secrets(headers)
        self._recorder.sending(headers)
        return sender.send(self._event.url, headers, request.body, state)

    def receive(self, response: HttpResponse) -> None:
        """Take the head of the response, and prepare to read its body."""
        settings = self._settings
        self._response = response
        if response.status in _BODY_SAYS_LITTLE:
            self._body_ends = self._now() + _LITTLE_BODY_TIMEOUT
        self._parser = ResponseParser(
            self._operation,
            settings.version,
            limits=settings.limits,
            content_type=response.headers.get("content-type"),
            on_unknown=settings.on_unknown,
            collect=self._collect,
            server=urlsplit(self._event.url).netloc,
        )
        self._decompressor = Decompressor(
            response.headers.get("content-encoding", ""), settings.limits, streamed=not self._collect
        )

    async def read(self) -> list[Any] | None:
        """Return the items that the next piece of the response completes; None at its end."""
        if self._problem is not None or self._parser.problem is not None:
            return None
        await self._take_turns()
        if not self._rest:
            piece = await self._next_piece()
            if piece is None:
                return None
            self._rest = piece
            self._received += len(piece)
            self._recorder.received(piece)
        piece, self._rest = self._rest[: self._step], self._rest[self._step :]
        started = time.perf_counter()
        items = self._parser.feed(piece)
        taken = time.perf_counter() - started
        self._busy += taken
        # A server decides how much work a byte is: of many tiny items, fewer bytes are parsed without a pause.
        self._step = min(self._step * 2, CHUNK) if taken < _SLOW / 2 else max(self._step // 2, _SMALLEST_STEP)
        return items

    async def _take_turns(self) -> None:
        """Let other tasks run now and then: a long response must not keep the event loop to itself."""
        self._reads += 1
        if self._received >= CHUNK or self._reads % _READS_IN_A_ROW == 0 or self._busy > _SLOW:
            self._busy = 0.0
            await asyncio.sleep(0)

    async def _next_piece(self) -> bytes | None:
        """Return the next piece of the response, decompressed; None at its end, or if it cannot be decompressed."""
        assert self._response is not None  # noqa: S101 - receive() came first
        try:
            piece = next(self._pieces, None)
            while piece is None:
                async with asyncio.timeout_at(self._body_ends):
                    chunk = await self._response.read()
                if chunk is None:
                    self._decompressor.finish()
                    return None
                self._pieces = self._decompressor.feed(chunk)
                piece = next(self._pieces, None)
                if piece is None:
                    await self._take_turns()  # compressed data may hold nothing
        except ProtocolError as error:
            self._problem = Problem.of(error)
            return None
        except (TransportError, TimeoutError) as error:
            if self._response.status // 100 == 2:  # noqa: PLR2004 - RFC 9110, section 15.3
                raise
            # The status says what has happened, whatever became of the body.
            self._problem = Problem(UnreadableResponse, str(error))
            return None
        return piece

    def result(self) -> Any:
        """Return the result of the operation, or raise what the response means."""
        assert self._response is not None  # noqa: S101 - send() came first
        status = self._response.status
        asked = self._response.headers.get("retry-after")
        retry_after = None if asked is None else parse_retry_after(asked, datetime.now(UTC))
        with clean_traceback():  # what the server said is masked in the error, and not in the frames below
            result = interpret(
                self._operation,
                self._parsed(),
                status,
                retry_after=retry_after,
                secrets=self._secrets,
                advise_binding=self._advise_binding,
            )
        self.header = self._parser.close().header
        return result

    def _parsed(self) -> ParsedResponse:
        """Return what was read of the response. No frame that an error passes may keep it: it is not masked."""
        parsed = self._parser.close()
        if self._problem is not None:
            parsed.problem, parsed.excerpt = self._problem, ""
        return parsed

    async def close(self, outcome: str, error: BaseException | None = None) -> None:
        """Give the connection back and tell how the exchange ended. Idempotent.

        Args:
            outcome: "ok", or why there is no result.
            error: that the exchange raised. It gets what went over the wire, if that explains the error.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._response is not None:
                await self._response.aclose()
                while outcome != "ok" and self._parser.discard():  # noqa: ASYNC110 - each call frees a part
                    await asyncio.sleep(0)
        finally:
            self._tell(outcome, error)

    def _tell(self, outcome: str, error: BaseException | None) -> None:
        hooks, response = self._settings.hooks, self._response
        milliseconds = (self._now() - self._started) * 1000
        exchange = None
        if isinstance(error, ServiceError | ProtocolError) or is_exchange_wanted(hooks):
            exchange = self._recorder.record(
                self._event,
                response,
                bytes_received=self._received,
                milliseconds=milliseconds,
                outcome=outcome,
                secrets=self._secrets,
            )
            if isinstance(error, ServiceError | ProtocolError):
                error.explained_by(exchange)
        self._recorder.forget()
        log_response(
            hooks,
            self._event,
            status=None if response is None else response.status,
            bytes_received=self._received,
            milliseconds=milliseconds,
            outcome=outcome,
            exchange=exchange,
            observation=self._observation,
        )
