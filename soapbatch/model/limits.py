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
        bytes: of the body of a collected response, as it is received, and again after decompression.
        streamed_bytes: of the body of a streamed response, likewise.
        expansion: how many times larger than its compressed form a body may become.
        depth: of nested elements; the deepest documented response needs 8, and libxml2 reads no more than 256.
        items: in one collected list, nil items and foreign elements included; in a streamed list, of those two alone.
        tags: in a response, and between two items of its list. Attributes and namespace declarations count as tags;
            one tag may have a sixteenth of them.
        text_length: bytes from one `<` to the next: the text of one element, or all of one tag. A response may hold 16
            times as much between two items of its list, or in all if it is no list; a base64 result does not count.
        names: bytes of different tags that a response brings and that no response of that server has brought into this
            process before, with 64 bytes added for each. All responses of a server may bring 32 times as much.
    """

    bytes: int = 64 * MIB
    streamed_bytes: int = 4096 * MIB
    expansion: int = 200
    depth: int = 64
    items: int = 100_000
    tags: int = 200_000
    text_length: int = 1 * MIB
    names: int = 256 * KIB
