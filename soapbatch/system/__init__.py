"""Two things that asyncio and the operating system make hard.

`cancellation` brings work to its end although its caller is cancelled; `atomic_file` replaces a file as a whole.
"""

from soapbatch.system.atomic_file import AtomicFile as AtomicFile
from soapbatch.system.cancellation import (
    cancel_and_wait as cancel_and_wait,
    retrieve_exception as retrieve_exception,
    run_to_completion as run_to_completion,
    wait_until_done as wait_until_done,
)
