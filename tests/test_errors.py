"""The error tree: what each error says and carries."""

import pytest

from soapbatch import errors


@pytest.mark.parametrize(
    ("error", "message", "applied"),
    [
        pytest.param(
            errors.ClientClosed.refused("StopBatchJob"),
            "the client is closed: StopBatchJob was not sent; make a new client",
            "no",
            id="refused",
        ),
        pytest.param(
            errors.ClientClosed.ended("the login"), "the client was closed: the login was ended", "no", id="ended"
        ),
        pytest.param(
            errors.ClientClosed.ended("StopBatchJob", phase="reading", applied="unknown"),
            "the client was closed: StopBatchJob was ended while reading",
            "unknown",
            id="ended in a phase",
        ),
    ],
)
def test_a_closed_client_says_what_became_of_the_work(
    error: errors.ClientClosed, message: str, applied: errors.Applied
) -> None:
    """The error names the work and says whether the client refused or ended it."""
    assert (str(error), error.applied) == (message, applied)
