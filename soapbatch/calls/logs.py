"""What a call tells of each request: log records and hooks.

Logger `soapbatch` has one DEBUG record for each request that ended. Logger `soapbatch.wire` has the whole exchange, if
it is enabled for DEBUG. `soapbatch.guide.logs` lists every record.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from soapbatch.calls.hooks import Hooks, RequestEvent, ResponseEvent
from soapbatch.model import ExchangeRecord
from soapbatch.system import LOG, WIRE, log_record

E = TypeVar("E")


def is_exchange_wanted(hooks: Hooks) -> bool:
    """Return whether somebody wants to see each exchange: a hook, or the wire log."""
    return hooks.on_exchange is not None or WIRE.isEnabledFor(logging.DEBUG)


def log_response(
    hooks: Hooks,
    request: RequestEvent,
    *,
    status: int | None,
    bytes_received: int,
    milliseconds: float,
    outcome: str,
    exchange: ExchangeRecord | None,
) -> None:
    """Log a request that has ended, and call the hooks; `exchange` is None unless somebody wants it."""
    if LOG.isEnabledFor(logging.DEBUG):
        log_record(
            logging.DEBUG,
            "%(operation)s %(version)s attempt %(attempt)d: %(outcome)s, HTTP %(status)s, %(milliseconds).1f ms, "
            "%(bytes_sent)d bytes out, %(bytes_received)d in",
            operation=request.operation,
            version=str(request.version),
            binding=request.binding.name,
            attempt=request.attempt,
            url=request.url,
            outcome=outcome,
            status=status,
            milliseconds=milliseconds,
            bytes_sent=request.bytes_sent,
            bytes_received=bytes_received,
        )
    if exchange is not None:
        if WIRE.isEnabledFor(logging.DEBUG):
            log_record(
                logging.DEBUG,
                "%(exchange)s",
                logger=WIRE,
                operation=exchange.operation,
                version=str(exchange.version),
                attempt=exchange.attempt,
                exchange=str(exchange),
            )
        _observe("on_exchange", hooks.on_exchange, exchange)
    if hooks.on_response is not None:
        event = ResponseEvent(
            request=request,
            status=status,
            bytes_received=bytes_received,
            milliseconds=milliseconds,
            outcome=outcome,
        )
        _observe("on_response", hooks.on_response, event)


def _observe(name: str, hook: Callable[[E], None] | None, event: E) -> None:
    """Call a hook, if there is one. It must not cost the caller what the server has done: what it raises is logged."""
    if hook is not None:
        try:
            hook(event)
        except Exception:  # noqa: BLE001 - see above
            log_record(logging.ERROR, "the %(hook)s hook failed", exc_info=True, hook=name)
