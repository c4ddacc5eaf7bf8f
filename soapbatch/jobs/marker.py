"""The mark of a start: a key, and where a task carries it."""

import hashlib
import re
import uuid
from enum import Enum
from typing import Final

import attrs

from soapbatch.errors import UsageError
from soapbatch.jobs.checks import require
from soapbatch.model import BATCH_TASK_INFO, BatchTaskInfo, utf16_length

MARKER_KEY: Final = "soapbatch.marker"
"""The name of the parameter in which Marker.PARAMETER puts the key."""
LONGEST_KEY: Final = 200
"""Characters that a key may have."""

_LONGEST_DESCRIPTION: Final = next(f.max_length for f in BATCH_TASK_INFO.fields if f.attribute == "description") or 0
_DIGEST_LENGTH: Final = 32
_MARKED_DESCRIPTION: Final = re.compile(rf"\[soapbatch:[0-9a-f]{{{_DIGEST_LENGTH}}}\]")


@attrs.frozen
class Key:
    """What tells the task of one start from the tasks of all others.

    Attributes:
        text: the key itself.
        digest: 32 hexadecimal digits that stand for the key in a description: the beginning of its SHA-256.
    """

    text: str
    digest: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Compute the digest. Raises UsageError for a text that a server may change."""
        text = self.text
        require(isinstance(text, str), f"key is text, not a {type(text).__name__}")
        require(
            0 < len(text) <= LONGEST_KEY and text == text.strip() and text.isprintable(),
            f"key is text of 1 to {LONGEST_KEY} characters, without line breaks and without blanks around it: "
            "servers change those",
        )
        object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH])

    @classmethod
    def made(cls) -> "Key":
        """Return a key that nobody else has."""
        return cls(uuid.uuid4().hex)

    def is_on(self, info: BatchTaskInfo) -> bool:
        """Return whether a task carries the key, in either place."""
        return (info.parameter_object or {}).get(MARKER_KEY) == self.text or self.digest in (info.description or "")


def is_marked(info: BatchTaskInfo) -> bool:
    """Return whether a task carries any key."""
    return MARKER_KEY in (info.parameter_object or {}) or bool(_MARKED_DESCRIPTION.search(info.description or ""))


class Marker(Enum):
    """Where a started task carries its key: the caller's `key`, or one that is made for the start.

    People and programs see it there. The job itself gets it, too.
    """

    PARAMETER = "parameter"
    """In `parameter_object`, as another parameter `soapbatch.marker`: for jobs that ignore unknown parameters."""
    DESCRIPTION = "description"
    """At the end of `description`, as ` [soapbatch:...]` with a digest of the key, 45 characters: for jobs that do not
    rewrite it."""

    def text(self, key: Key) -> str:
        """Return what the task carries for `key`."""
        return key.text if self is Marker.PARAMETER else key.digest

    def mark(self, info: BatchTaskInfo, key: Key) -> BatchTaskInfo:
        """Return `info` with the mark of `key`. Raises UsageError if there is no room for it."""
        if self is Marker.PARAMETER:
            parameters = info.parameter_object or {}
            if MARKER_KEY in parameters:
                raise UsageError(f"the parameter {MARKER_KEY!r} is reserved for the marker: leave it out")
            return attrs.evolve(info, parameter_object={**parameters, MARKER_KEY: key.text})
        description = f"{info.description or ''} [soapbatch:{key.digest}]".lstrip()
        length = utf16_length(description)
        if length > _LONGEST_DESCRIPTION:
            room = _LONGEST_DESCRIPTION - length + utf16_length(info.description or "")
            raise UsageError(
                f"description has no room for the marker: shorten it to {room} characters, or use another marker"
            )
        return attrs.evolve(info, description=description)

    def hint(self, key: Key) -> str:
        """Return in words what a task with the mark of `key` looks like."""
        if self is Marker.PARAMETER:
            return f"a task of that job whose parameter_object holds {MARKER_KEY!r}: {key.text!r}"
        return f"a task of that job whose description ends in [soapbatch:{key.digest}]"
