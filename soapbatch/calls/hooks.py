"""Hooks: the functions of the caller that a client calls, and the events that they are given."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from soapbatch.model import Binding, ExchangeRecord, ServiceVersion


@attrs.frozen(kw_only=True)
class RequestEvent:
    """A request is about to be sent. Holds no secrets.

    Attributes:
        operation: the wire name.
        version: the service version.
        binding: how the envelope is laid out.
        attempt: 1 for the first request of a call.
        url: of the endpoint.
        bytes_sent: the size of the envelope.
    """

    operation: str
    version: ServiceVersion
    binding: Binding
    attempt: int
    url: str
    bytes_sent: int


@attrs.frozen(kw_only=True)
class ResponseEvent:
    """A request has ended, with or without a response. Holds no secrets.

    Attributes:
        request: the event of the request.
        status: the HTTP status, or None where there was no response.
        bytes_received: bytes of the body, decompressed, that were read.
        milliseconds: from the request event to the end.
        outcome: "ok", or the name of the error's class.
    """

    request: RequestEvent
    status: int | None
    bytes_received: int
    milliseconds: float
    outcome: str


RequestHook: TypeAlias = Callable[[RequestEvent], None]
ResponseHook: TypeAlias = Callable[[ResponseEvent], None]
ExchangeHook: TypeAlias = Callable[[ExchangeRecord], None]
HeaderHook: TypeAlias = Callable[[], Mapping[str, str]]


@attrs.frozen(kw_only=True)
class Hooks:
    """Functions that a client calls.

    An exception of `on_request` or `headers` ends the call before anything is sent. An exception of `on_response` or
    `on_exchange` is logged.

    Attributes:
        on_request: called before each request is sent.
        on_response: called after each request has ended, in whatever way.
        on_exchange: called after each request with what went over the wire, without secrets; see `ExchangeRecord`. To
            mask a long response takes some milliseconds.
        headers: returns HTTP headers to add to each request, for example a W3C `traceparent`.
    """

    on_request: RequestHook | None = None
    on_response: ResponseHook | None = None
    on_exchange: ExchangeHook | None = None
    headers: HeaderHook | None = None
