"""The library's loggers, in this wing because the log belongs to the process, as the event loop and the files do.

A record has its facts twice: in its message, for people, and as attributes, for formatters that write JSON
(python-json-logger, structlog's ExtraAdder, logging's own `%(soapbatch_task)d`). The attributes come from `extra=`, and
their names begin with `soapbatch_`: `extra=` refuses names that records have already ("name", "args", "module",
"taskName", more with each Python), and such formatters put the attributes of all libraries beside each other. They are
plain values, one below the other and not in a dictionary, so that a store of logs can index each by its type.
"""

import logging
from typing import Final

FIELD_PREFIX: Final = "soapbatch_"
"""What the name of each attribute begins with."""
LOG: Final = logging.getLogger("soapbatch")
"""What the client does by itself: logins, renewals, retries. The application sets levels and handlers."""
WIRE: Final = LOG.getChild("wire")
"""What goes over the wire, at DEBUG."""

LOG.addHandler(logging.NullHandler())  # else Python writes warnings to standard error where nobody configures logging


def log_record(
    level: int, message: str, /, *, logger: logging.Logger = LOG, exc_info: bool = False, **fields: object
) -> None:
    """Write one record, if the application wants it.

    Args:
        level: of `logging`.
        message: names fields as `%(task)d`. It is a literal: `soapbatch.guide.logs` lists all of them.
        logger: of this library.
        exc_info: whether the traceback of the exception that is handled belongs to it.
        fields: plain values (text, numbers, lists of them, None), without secrets; one at least.
    """
    if logger.isEnabledFor(level):
        extra = {f"{FIELD_PREFIX}{name}": value for name, value in fields.items()}
        logger.log(level, message, fields, exc_info=exc_info, extra=extra, stacklevel=2)
