"""`soapbatch.soap.fast` saves time and nothing else. `make test` runs all tests of `soap` without it, too."""

import contextlib
import os
import subprocess
import sys
from unittest import mock

import pytest

from soapbatch.model.batch import BatchTaskInfo
from soapbatch.model.services import ServiceVersion
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE as LIST
from soapbatch.soap import builder, fast
from soapbatch.soap.builder import build_request, build_response
from soapbatch.soap.interpretation import parse_response
from tests.conftest import REPOSITORY

V88 = ServiceVersion.V88


@pytest.mark.parametrize(("value", "is_on"), [("off", False), (" OFF ", False), ("on", True), ("", True)])
def test_the_variable(value: str, is_on: bool) -> None:  # noqa: FBT001 - a column
    """`SOAPBATCH_FAST=off` switches the package off; every other value leaves it on."""
    done = subprocess.run(
        [sys.executable, "-c", "from soapbatch.soap import fast; print(fast.IS_ON)"],
        cwd=REPOSITORY,
        env=os.environ | {"SOAPBATCH_FAST": value, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{is_on}\n"


def test_the_parser_and_the_builder_do_not_use_it() -> None:
    """With the package switched off, nothing of it is called, and requests and results are the same."""
    tasks = [BatchTaskInfo(id=number, name=f"<{number}>") for number in range(100)]
    body = build_response(LIST, tasks, version=V88)
    request = build_request("DeleteBatchTasks", {"batch_task_ids": [1, 2, 3]}, version=V88)
    parts = ("ItemScanner", "ShortResponse", "fast_writer", "fast_int_list_writer")
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(fast, "IS_ON", new=False))
        for name in parts:
            stack.enter_context(mock.patch.object(fast, name, side_effect=AssertionError(name)))
        builder._request_template.cache_clear()
        stack.callback(builder._request_template.cache_clear)
        assert parse_response(LIST, body, version=V88) == tasks
        assert build_request("DeleteBatchTasks", {"batch_task_ids": [1, 2, 3]}, version=V88) == request
