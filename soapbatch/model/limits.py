"""How large a response may be before it is refused."""

import attrs

KIB = 1024
MIB = 1024 * KIB


@attrs.frozen(kw_only=True)
class Limits:
    """How large a response may be. A response that exceeds a limit raises LimitExceeded, which names the attribute.

    The defaults keep a collected response to an amount of memory that a service can spare. Reading task by task or into
    a file (`stream`, `save_output`) takes constant memory; there, `streamed_bytes` replaces `bytes`.

    Attributes:
        bytes: of the body of a collected response, after decompression.
        streamed_bytes: of the body of a streamed response, after decompression.
        expansion: how many times larger than its compressed form a body may become.
        depth: of nested elements; the deepest documented response needs 8, and libxml2 reads no more than 256.
        items: in one collected list, nil items and foreign elements included.
        tags: in a response, and between two items of its list.
        text_length: bytes from one `<` to the next: the text of one element, or all of one tag.
    """

    bytes: int = 64 * MIB
    streamed_bytes: int = 4096 * MIB
    expansion: int = 200
    depth: int = 64
    items: int = 100_000
    tags: int = 250_000
    text_length: int = 1 * MIB
