"""Requests to the sign-in host of an environment, over the transport of an app.

Rule 1. Redirects are never followed: the body may hold the client secret, a signed token or a refresh token.
Rule 2. A response is read up to 1 MiB, and a request takes no longer than its timeout.
Rule 3. No error shows the locals of the frames that hold a request: they hold secrets in plain text.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import attrs

from soapbatch.errors import DeadlineExceeded, HttpError, LimitExceeded, ServiceBusy, SoapBatchError, clean_traceback
from soapbatch.model import MIB, Limits
from soapbatch.online import responses
from soapbatch.online.environments import Environment, SignInRequest
from soapbatch.system import log_record
from soapbatch.transport import Decompressor, Sender, SendState, merged_headers

LARGEST: Final = 1 * MIB
"""Bytes of a response of the sign-in host that are read."""
_BUSY: Final = frozenset({429, 503})


def utc_now() -> datetime:
    """Return the time of this machine (aware)."""
    return datetime.now(UTC)


@attrs.frozen
class SignInResponse:
    """A response of the sign-in host. Its repr does not show the body, which may hold a token.

    Attributes:
        status: of HTTP.
        headers: by name.
        body: decompressed.
        at: the time of this machine when it was read (aware).
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    at: datetime

    def check_status(self, what: str, advice: str = "") -> None:
        """Raise for a status other than 200; `what` names what was asked for.

        Raises:
            ServiceBusy: 429 or 503.
            HttpError: any other status.
        """
        status = self.status
        if status == 200:  # noqa: PLR2004 - OK
            return
        is_transient = responses.is_transient(status)
        kind = ServiceBusy if status in _BUSY else HttpError
        raise kind(
            f"{what}: the sign-in host answers HTTP {status}; "
            f"{advice or ('try again later' if is_transient else 'check the environment')}",
            status=status,
            applied="no",
            retryable=is_transient,
            retry_after=responses.retry_after(self.headers, self.at),
        )


class SignInHost:
    """The sign-in host of an environment.

    Attributes:
        environment: whose.
        now: returns the time of this machine (aware).
    """

    def __init__(
        self, environment: Environment, sender: Sender, *, timeout: float, now: Callable[[], datetime] = utc_now
    ) -> None:
        """Keep `sender`, through which requests go, and the seconds that each request may take in all. No I/O."""
        self.environment = environment
        self.now = now
        self._sender = sender
        self._timeout = timeout

    async def send(self, request: SignInRequest) -> SignInResponse:
        """Send a request and return the response, also one with an error status.

        Raises:
            TransportError: there is no response.
            LimitExceeded: it is larger than 1 MiB.
            UnreadableResponse: it cannot be decompressed.
        """
        loop = asyncio.get_running_loop()
        started, outcome, state = loop.time(), "cancelled", SendState()
        scope = asyncio.timeout(self._timeout)
        try:
            with clean_traceback():
                try:
                    async with scope:
                        response = await self._exchange(request, state)
                except TimeoutError as error:
                    if isinstance(error, SoapBatchError) or not scope.expired():
                        raise
                else:
                    outcome = f"HTTP {response.status}"
                    return response
            outcome = DeadlineExceeded.__name__
        except SoapBatchError as error:
            outcome = type(error).__name__
            raise
        finally:
            log_record(
                logging.DEBUG,
                "%(method)s %(url)s: %(outcome)s, %(milliseconds).1f ms",
                method=request.method,
                url=request.url,
                outcome=outcome,
                milliseconds=(loop.time() - started) * 1000,
            )
        raise DeadlineExceeded(
            f"{urlsplit(request.url).hostname} took longer than {self._timeout:g} s: it ran out while {state.phase}",
            phase=state.phase,
            timeout=self._timeout,
            applied=state.applied,
        )

    async def _exchange(self, request: SignInRequest, state: SendState) -> SignInResponse:
        headers = merged_headers(request.headers, {})
        received = await self._sender.send(request.url, headers, request.body, state, method=request.method)
        try:
            body = bytearray()
            decompressor = Decompressor(received.headers.get("content-encoding", ""), Limits())
            while (chunk := await received.read()) is not None:
                for piece in decompressor.feed(chunk):
                    body += piece
                    if len(body) > LARGEST:
                        raise LimitExceeded(
                            f"the response of {urlsplit(request.url).hostname} is larger than {LARGEST} bytes",
                            limit="bytes",
                            status=received.status,
                        )
            decompressor.finish()
        finally:
            await received.aclose()
        return SignInResponse(received.status, dict(received.headers), bytes(body), self.now())
