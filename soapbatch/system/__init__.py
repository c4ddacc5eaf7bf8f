"""What the library needs from its process, and that asyncio or the operating system make hard.

`cancellation` finishes work although its caller is cancelled; `atomic_file` replaces a file as a whole; `log` holds the
library's loggers.
"""

from soapbatch.system.atomic_file import (
    AtomicFile as AtomicFile,
    is_writable as is_writable,
    save_pieces as save_pieces,
)
from soapbatch.system.cancellation import (
    cancel_and_wait as cancel_and_wait,
    closing_inside as closing_inside,
    retrieve_exception as retrieve_exception,
    run_to_completion as run_to_completion,
    wait_until_done as wait_until_done,
)
from soapbatch.system.log import (
    FIELD_PREFIX as FIELD_PREFIX,
    LOG as LOG,
    WIRE as WIRE,
    log_record as log_record,
)
