"""What a call tells of each request: log records and hooks.

Logger `soapbatch` has one DEBUG record for each request that ended. Logger `soapbatch.wire` has the whole exchange, if
it is enabled for DEBUG. `soapbatch.guide.logs` lists every record.
"""

import logging

from soapbatch.calls.hooks import Hooks, RequestEvent, ResponseEvent, tell
from soapbatch.calls.observation import Observation
from soapbatch.model import ExchangeRecord
from soapbatch.system import LOG, WIRE, log_record


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
    observation: Observation | None,
) -> None:
    """Log a request that has ended, and call the hooks.

    Args:
        hooks: of the client.
        request: the event of the request.
        status: of HTTP; None: there was no response.
        bytes_received: of the body.
        milliseconds: that it took.
        outcome: "ok", or why there is no result.
        exchange: what went over the wire; None: nobody wants to see it.
        observation: the scope of the caller's hook, if there is one.
    """
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
        tell(hooks.on_exchange, exchange)
    if hooks.on_response is not None or observation is not None:
        event = ResponseEvent(
            request=request,
            status=status,
            bytes_received=bytes_received,
            milliseconds=milliseconds,
            outcome=outcome,
        )
        tell(hooks.on_response, event)
        if observation is not None:
            observation.end(event)
