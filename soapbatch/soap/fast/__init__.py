"""Code that is fast because it is clever: the builder and the parser do the same work without it, more slowly.

- `item_pattern` decodes the items of a list with one regular expression: 1,000 tasks take 0.5 of the time.
- `short_response` parses a short response in one go: a response with one task takes 0.8 of the time.
- `scalar_writers` write common values in one function call: a request of UpdateBatchTask takes 0.6 of the time, one
  with a list of 10,000 ids 0.35.
- `raw_text` decodes the parameters of listed tasks when they are read: 50,000 collected tasks stop the event loop for
  5 ms at most, not for 45 to 65.

The environment variable `SOAPBATCH_FAST=off` switches all of it off. It is read once, when this package is imported.
It serves to find out whether a defect is in this package, and to run the tests without it.

Only `builder` and `parser` use this package, and they ask `IS_ON` first.
"""

import os
from typing import Final

from soapbatch.model import BatchTaskInfo
from soapbatch.soap.fast.item_pattern import ItemScanner as ItemScanner
from soapbatch.soap.fast.raw_text import make_lazy
from soapbatch.soap.fast.scalar_writers import fast_int_list_writer as fast_int_list_writer, fast_writer as fast_writer
from soapbatch.soap.fast.short_response import ShortResponse as ShortResponse

IS_ON: Final = os.environ.get("SOAPBATCH_FAST", "").strip().lower() != "off"
"""Whether the builder and the parser use this package."""

if IS_ON:  # pragma: no branch - `make test` runs the tests of soap in a process without it
    make_lazy(BatchTaskInfo, "parameter_object")
