"""The page about fleets: its programs are Python, and every name and argument of this library in them exists."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator

from soapbatch import Client, ConnectionPool
from soapbatch.guide import fleets
from soapbatch.integrations.temporal import BatchJob, RunBatchJob, SoapBatchPlugin, read_progress, run_batch_job

PAGE = fleets.__doc__ or ""
CALLABLES = {each.__name__: each for each in (BatchJob, Client, ConnectionPool, SoapBatchPlugin)}


def programs() -> Iterator[ast.Module]:
    """Yield the indented blocks of the page."""
    for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE, re.MULTILINE):
        if "StartBatchJob  reads" in block:
            continue  # the table of figures
        source = compile(textwrap.dedent(block), "page", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert isinstance(source, ast.Module)
        yield source


def test_it_is_a_page() -> None:
    """It has about 80 lines beside its table."""
    assert len(PAGE.splitlines()) <= 90


def test_its_programs() -> None:
    """Imports work, and calls have arguments that exist."""
    imported, called = set[str](), set[str]()
    for program in programs():
        for node in ast.walk(program):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("soapbatch"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert getattr(module, alias.name)
                    imported.add(alias.name)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLABLES:
                called.add(node.func.id)
                parameters = inspect.signature(CALLABLES[node.func.id]).parameters
                wanted = {keyword.arg for keyword in node.keywords}
                assert wanted <= parameters.keys()
    assert called == CALLABLES.keys()
    assert {RunBatchJob.__name__, read_progress.__name__, run_batch_job.__name__} < imported


def test_what_it_says_of_defaults() -> None:
    """The figures in the text are those of the code."""
    job = BatchJob("acme", "Export")
    assert f"{job.heartbeat_timeout:g} seconds (`heartbeat_timeout`)" in PAGE
    assert job.timeout == 7 * 24 * 3600
    assert "`timeout` (a week)" in PAGE
