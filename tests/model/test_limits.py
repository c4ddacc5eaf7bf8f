"""The limits of a response, as the documentation gives them."""

import attrs

from soapbatch.model import Limits


def test_the_defaults() -> None:
    """64 MiB collected and 4 GiB streamed are read, as are 100,000 items and texts of 1 MiB."""
    assert attrs.asdict(Limits()) == {
        "bytes": 64 * 2**20,
        "streamed_bytes": 4 * 2**30,
        "expansion": 200,
        "depth": 64,
        "items": 100_000,
        "tags": 200_000,
        "text_length": 2**20,
        "names": 256 * 2**10,
    }
