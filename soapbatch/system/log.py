"""The library's logger, in this wing because the log belongs to the process, as the event loop and the files do."""

import logging
from typing import Final

LOG: Final = logging.getLogger("soapbatch")
"""What the client does by itself: logins, renewals, retries. The application sets levels and handlers."""
