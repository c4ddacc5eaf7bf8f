"""The mutants that survive, and why that is right: `tests/mutants.py` prints them, and fails if a line here is stale.

A key is what `python -m tests.mutants` prints: module, function, line and change. When a line here is changed, run
`python -m tests.mutants --all --module M --only "the line"`, and write what survives then.
"""

from typing import Final

_BY_REASON: Final[dict[str, list[str]]] = {}

ACCEPTED: Final = {key: reason for reason, keys in _BY_REASON.items() for key in keys}
