"""A Temporal server for the tests of a session; it ends with them."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.fleet import dev_server


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a Temporal dev server."""
    folder: Path = tmp_path_factory.mktemp("temporal")
    with dev_server(folder) as server:
        yield server.target
