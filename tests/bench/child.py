"""Fresh interpreters: how the benchmarks start them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Return the environment of a fresh interpreter, which keeps compiled modules as it would by default."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {"PYTHONPATH": str(REPOSITORY)}


def ask(*arguments: str) -> Any:
    """Run this interpreter with `arguments` and return the JSON that it prints."""
    done = subprocess.run(  # noqa: S603 - the README's own text
        [sys.executable, *arguments], env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)
