"""README and guide say what is true: examples run, and tables are made from the code.

`python -m tests.test_readme` writes the table of operations anew.
"""

import asyncio
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
import pytest

from soapbatch import ALL_USER_TASKS, Client, ServiceVersion, UsernamePassword
from soapbatch.cli.command_line import make_parser
from soapbatch.cli.exit_status import ExitStatus
from soapbatch.guide import jobs, operators, wire
from soapbatch.operations import OPERATIONS
from soapbatch.soap.interpretation import interpret
from soapbatch.testing import NetServer, Online
from tests.support.clients import virtual

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
FIRST, ONLINE, JOBS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
GUIDE_EXAMPLES = re.findall(r"(?:^    .*\n)+", jobs.__doc__ or "", re.MULTILINE)


def operation_table() -> str:
    """Return the guide's table of operations and versions."""
    versions = list(ServiceVersion)
    lines = [
        "| operation | agent | reads | " + " | ".join(f"{version:d}" for version in versions) + " |",
        "|---|---|---|" + "---|" * len(versions),
    ]
    for row in OPERATIONS.values():
        cells = ["✓" if version >= row.since else "" for version in versions]
        lines.append(f"| {row.name} | {row.agent.name} | {'✓' if row.is_read_only else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


TABLE = re.compile(r"^\| operation \|.*?(?=\n\n)", re.DOTALL | re.MULTILINE)


def test_operation_table_is_made_from_the_rows() -> None:
    """The table says of each operation exactly the versions that its row says."""
    assert TABLE.findall(wire.__doc__ or "") == [operation_table()], "run: python -m tests.test_readme"


def test_the_readme_is_short() -> None:
    """It is the first page, not the reference; its lines fit on a screen, but for tables."""
    assert len(TEXT.splitlines()) <= 150
    assert max(len(line) for line in TEXT.splitlines() if not line.startswith("|")) <= 120


@pytest.mark.slow
def test_first_example_runs_as_it_stands(tmp_path: Path) -> None:
    """Saved to a file and run as the README says, the first example ends with the output of the job."""
    example = tmp_path / "example.py"
    example.write_text(FIRST, "utf-8")
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


@pytest.mark.parametrize("line", re.findall(r"^\$ soapbatch (.*)$", TEXT, re.MULTILINE))
def test_command_lines_parse(line: str) -> None:
    """Each command line is one that the command takes."""
    words = shlex.split(line, comments=True)
    assert make_parser().parse_args(words).command == words[0]


def test_the_page_for_operators_has_every_exit_status() -> None:
    """The table has a row for each."""
    rows = re.findall(r"^\| (\d+) \|", operators.__doc__ or "", re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(ExitStatus)


async def run(example: str, names: dict[str, Any]) -> None:
    """Run the lines of an example as the body of a coroutine function."""
    exec(f"async def run():\n{textwrap.indent(example, '    ')}", names)  # noqa: S102 - the project's own text
    await names["run"]()


@pytest.mark.parametrize("example", [JOBS, *map(textwrap.dedent, GUIDE_EXAMPLES)])
@virtual
async def test_examples_run(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example about jobs runs on an embedded NetServer, line for line."""
    monkeypatch.chdir(tmp_path)
    server = NetServer(clock=lambda: asyncio.get_running_loop().time() * 1e6)  # jobs end at once
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http_client,
        Client("http://localhost", credentials=UsernamePassword("demo", "demo"), http_client=http_client) as client,
    ):
        await run(example, {"client": client, "show": repr})
    assert server.counts["StartBatchJob"]


@pytest.mark.timeout(30)
async def test_the_online_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of SuperOffice Online signs in a system user and lists tasks, on an embedded SuperOffice Online."""
    online = Online()
    registered, place = online.add_app("My App"), online.add_tenant("Cust12345")

    class Client_(Client):  # noqa: N801 - stands in for Client
        @classmethod
        def online(cls, tenant: str, **options: Any) -> Client:  # type: ignore[override]
            return Client.online(tenant, transport=httpx.ASGITransport(online), **options)

    names = {
        "Client": Client_,
        "CLIENT_SECRET": registered.client_secret,
        "SYSTEM_USER_TOKEN": online.approve(registered, place),
        "PRIVATE_KEY": registered.private_key,
        "ALL_USER_TASKS": ALL_USER_TASKS,
    }
    await run(ONLINE, names)
    assert capsys.readouterr().out.strip() == "[]"


def test_order_of_judgement_names_the_same_six_steps() -> None:
    """The guide's list of how a response is judged has as many steps as the function's own, in the same words."""
    steps = re.findall(r"^\d\. (.*?)[,:]", wire.__doc__ or "", re.MULTILINE)
    own = re.findall(r"^ *\d\. (.*?)[,:.]", interpret.__doc__ or "", re.MULTILINE)
    assert [step.split()[0] for step in steps] == [step.split()[0] for step in own]
    assert len(steps) == 6


if __name__ == "__main__":
    page = Path(wire.__file__)
    page.write_text(TABLE.sub(lambda _: operation_table(), page.read_text("utf-8")), "utf-8")
