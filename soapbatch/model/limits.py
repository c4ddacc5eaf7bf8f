"""How large a response may be before it is refused."""

import attrs

KIB = 1024
MIB = 1024 * KIB


@attrs.frozen(kw_only=True)
class Limits:
    """What a response may cost; exceeding one raises LimitExceeded with the attribute's name.

    The defaults hold a response that is collected in memory to what a service can bear. Reading task by task
    or to a file (`stream`, `save_output`) costs constant memory and is bounded by `streamed_bytes` instead.

    Attributes:
        bytes: of the body of a collected response, after decompression.
        streamed_bytes: of the body of a streamed response, after decompression.
        expansion: how many times larger than its compressed form a body may become.
        depth: of nested elements; the deepest documented response needs 8, and libxml2 reads no more than 256.
        items: in one list that is collected, nil ones and strangers among them included.
        tags: in a response, and between two items of its list.
        text_length: bytes between two `<`: the text of one element, or everything inside one tag.
    """

    bytes: int = 64 * MIB
    streamed_bytes: int = 4096 * MIB
    expansion: int = 200
    depth: int = 64
    items: int = 100_000
    tags: int = 250_000
    text_length: int = 1 * MIB
