"""The README says what is true: its examples run, its tables are made from the code.

`python -m tests.test_readme` writes the tables anew.
"""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
import pytest

from soapbatch import BatchTaskInfo, Client, ServiceVersion, UsernamePassword
from soapbatch.operations import OPERATIONS
from soapbatch.soap.interpretation import interpret
from soapbatch.testing import NetServer
from tests.support.clients import virtual

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def operation_table() -> str:
    """Return the README's table of operations and versions."""
    versions = list(ServiceVersion)
    lines = [
        "| operation | agent | reads | " + " | ".join(f"{version:d}" for version in versions) + " |",
        "|---|---|---|" + "---|" * len(versions),
    ]
    for row in OPERATIONS.values():
        cells = ["✓" if version >= row.since else "" for version in versions]
        lines.append(f"| {row.name} | {row.agent.name} | {'✓' if row.is_read_only else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def section(name: str) -> re.Pattern[str]:
    """Return what finds a generated section of the README: opening comment, content, closing comment."""
    return re.compile(rf"(<!-- {name}\b[^>]*-->\n)(.*?)(<!-- /{name} -->)", re.DOTALL)


def test_operation_table_is_made_from_the_rows() -> None:
    """The README's table says of each operation exactly the versions that its row says."""
    found = section("operations").search(README.read_text("utf-8"))
    assert found, "the README has lost its table of operations"
    assert found[2].strip() == operation_table(), "run: python -m tests.test_readme"


@pytest.mark.slow
def test_first_example_runs_as_it_stands(tmp_path: Path) -> None:
    """Saved to a file and run as the README says, the first example ends with the output of the job."""
    example = tmp_path / "example.py"
    example.write_text(EXAMPLES[0], "utf-8")
    done = subprocess.run(  # noqa: S603 - the README's own text
        [sys.executable, "-W", "error", str(example)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rows exported b'id;name" in done.stdout


@pytest.mark.parametrize("example", [pytest.param(text, id=f"example-{i}") for i, text in enumerate(EXAMPLES[1:], 2)])
@virtual
async def test_further_examples_run(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other example runs on an embedded NetServer, line for line."""
    monkeypatch.chdir(tmp_path)
    server = NetServer(clock=lambda: asyncio.get_running_loop().time() * 1e6)  # jobs end at once
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http_client:
        client = Client("http://localhost", credentials=UsernamePassword("demo", "demo"), http_client=http_client)
        names: dict[str, Any] = {
            "Client": Client,
            "client": client,
            "credentials": UsernamePassword("demo", "demo"),
            "show": repr,
            "url": "http://localhost",
        }
        async with client:
            for _ in range(42):
                await client.batch.start_batch_job(BatchTaskInfo(name="ExportArchiveBatchPlugin"))
            exec(f"async def run():\n{textwrap.indent(example, '    ')}", names)  # noqa: S102 - the README's own text
            await names["run"]()


def test_order_of_judgement_names_the_same_six_steps() -> None:
    """The README's list of how a response is judged has as many steps as the function's own, in the same words."""
    steps = re.findall(r"^\d\. (.*?)[,:]", README.read_text("utf-8"), re.MULTILINE)
    own = re.findall(r"^ *\d\. (.*?)[,:.]", interpret.__doc__ or "", re.MULTILINE)
    assert [step.split()[0] for step in steps] == [step.split()[0] for step in own]
    assert len(steps) == 6


if __name__ == "__main__":
    text = README.read_text("utf-8")
    README.write_text(section("operations").sub(lambda m: f"{m[1]}{operation_table()}\n{m[3]}", text), "utf-8")
