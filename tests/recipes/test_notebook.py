"""The recipe of a notebook: its cells run in order, as Jupyter runs them, and it is checked in without outputs."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from soapbatch.testing import NetServer, serve

NOTEBOOK: dict[str, Any] = json.loads(Path(__file__).with_name("notebook.ipynb").read_text("utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_clean_notebook() -> None:
    """It has the form 4.5, and holds neither outputs nor counts."""
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


async def run_cells(names: dict[str, Any]) -> None:
    """Run the cells in one namespace, each with `await` at its top level."""
    for number, source in enumerate(CELLS):
        code = compile(source, f"cell {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, names)  # noqa: S307 - the project's own text
        if inspect.iscoroutine(waiting):
            await waiting


@pytest.mark.slow
async def test_the_cells_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On an embedded server; a second run finds the job of the first."""
    server = NetServer()
    server.define_job("ExportArchiveBatchPlugin", duration=0, output=b"id;name", result="1 row exported")
    async with serve(server) as url:
        for name, value in {"URL": url, "USER": "demo", "PASSWORD": "demo"}.items():
            monkeypatch.setenv(f"SOAPBATCH_{name}", value)
        for _ in range(2):
            names: dict[str, Any] = {}
            await run_cells(names)
            assert names["output"] == b"id;name"
            assert names["info"].result == "1 row exported"
            assert [task["id"] for task in names["tasks"]] == [1]
    assert server.counts["StartBatchJob"] == 1
    assert "Succeeded 100" in capsys.readouterr().out
