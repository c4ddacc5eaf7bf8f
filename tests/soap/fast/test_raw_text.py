"""Parameters of tasks that stay text until somebody reads them."""

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs
import pytest
from hypothesis import given

from soapbatch.errors import EncodeError
from soapbatch.model.batch import BatchTaskInfo
from soapbatch.model.limits import Limits
from soapbatch.model.services import Binding, ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap.builder import build_request, build_response
from soapbatch.soap.fast import IS_ON
from soapbatch.soap.fast.item_pattern import ItemPattern
from soapbatch.soap.fast.raw_text import resolve_references
from soapbatch.soap.parser import ResponseParser
from tests.support.strategies import TEXT

V88 = ServiceVersion.V88
LIST = OPERATIONS["GetBatchTaskInfosByState"]
pytestmark = pytest.mark.skipif(not IS_ON, reason="SOAPBATCH_FAST=off: this package is not used")
PARAMETERS = {"a": "<1> & 'two'", "b": "", "c": None, "æ": '"x"\n'}


def response(parameters: dict[str, str | None]) -> bytes:
    """Return a list of ten tasks with these parameters."""
    tasks = [BatchTaskInfo(id=number, parameter_object=parameters) for number in range(10)]
    return build_response(LIST, tasks, version=V88, binding=Binding.SOAP11)


def read(body: bytes) -> tuple[list[BatchTaskInfo], object]:
    """Return the tasks of a list that comes in small pieces, and what is wrong with it."""
    parser = ResponseParser(LIST, V88, limits=Limits(), collect=False)
    tasks = [task for start in range(0, len(body), 100) for task in parser.feed(body[start : start + 100])]
    return tasks, parser.close().problem


def is_read(task: BatchTaskInfo) -> bool:
    """Return whether a task holds its parameters, and not a text that they are to be read from."""
    return any(isinstance(value, dict) for value in gc.get_referents(task))


def unread() -> BatchTaskInfo:
    """Return the task 3 of a list."""
    task = read(response(PARAMETERS))[0][3]
    assert not is_read(task)
    return task


def test_a_task_holds_a_text_until_its_parameters_are_asked_for() -> None:
    """Parameters are read when they are first looked at, once."""
    task = unread()
    parameters = task.parameter_object
    assert parameters == PARAMETERS
    assert parameters is task.parameter_object
    assert is_read(task)


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(repr, id="repr"),
        pytest.param(lambda task: task == BatchTaskInfo(id=3, parameter_object=PARAMETERS), id="=="),
        pytest.param(attrs.asdict, id="asdict"),
        pytest.param(attrs.astuple, id="astuple"),
        pytest.param(lambda task: attrs.evolve(task, name="n"), id="evolve"),
        pytest.param(lambda task: attrs.evolve(task, parameter_object={"k": "v"}), id="evolve them"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda task: pickle.loads(pickle.dumps(task)), id="pickle"),  # noqa: S301 - our own
        pytest.param(
            lambda task: build_request("UpdateBatchTask", {"batch_task_info": task}, version=V88).body, id="build"
        ),
    ],
)
def test_nobody_can_tell(use: Callable[[BatchTaskInfo], Any]) -> None:
    """Whatever is done with such a task gives what it gives with one that was made with its parameters."""
    assert use(unread()) == use(BatchTaskInfo(id=3, parameter_object=PARAMETERS))


@given(key=TEXT, value=TEXT)
def test_any_text_survives(key: str, value: str) -> None:
    """Any key and value read as they do without the fast path, whether late or at once."""
    body = response({key: value, "nil": None})
    found = read(body)
    assert [task.parameter_object for task in found[0]] == [{key: value, "nil": None}] * 10
    with mock.patch.object(ItemPattern, "should_try", new=False):
        assert read(body) == found


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        pytest.param("&lt;&gt;&amp;&quot;", '<>&"', id="common entities"),
        pytest.param("&apos;", "'", id="the rare one"),
        pytest.param("&#233;&#xE9;", "éé", id="characters"),
        pytest.param("&amp;#233;", "&#233;", id="looks like a character"),
        pytest.param("&#1;&#xFFFE;", "\ufffd\ufffd", id="characters that XML does not allow"),
    ],
)
def test_references(reference: str, value: str) -> None:
    """A reference in the parameters means what it does elsewhere."""
    tasks, problem = read(response({"k": "REFERENCE"}).replace(b"REFERENCE", reference.encode()))
    assert problem is None
    assert [task.parameter_object for task in tasks] == [{"k": value}] * 10


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(b"&nonsense;", id="unknown"),
        pytest.param(b"R&lt", id="no end"),
        pytest.param(b"&#x110000;", id="too high"),
    ],
)
def test_a_reference_that_is_none(reference: bytes) -> None:
    """What cannot be read is an error of the answer, and not left to whoever looks at the task."""
    before, mark, after = response({"k": "REFERENCE"}).rpartition(b"REFERENCE")
    tasks, problem = read(before + mark.replace(b"REFERENCE", reference) + after)
    assert [task.id for task in tasks] == [*range(9)]
    assert "UnreadableResponse" in str(problem)


def test_what_a_caller_passes_is_kept() -> None:
    """A text that is passed where parameters belong is not taken for one that is still to be read."""
    task = BatchTaskInfo(parameter_object="<P><Key>k</Key><Value>v</Value></P>")  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="needs a mapping, got str"):
        build_request("StartBatchJob", {"batch_task_info": task}, version=V88)


@pytest.mark.parametrize("text", ["&", "&lt", "&nbsp;", "&#;", "&#x;", "&#x-1;", "&#1_0;", "&#12345678;", "&# 1;"])
def test_references_that_are_left_to_lxml(text: str) -> None:
    """What is no reference is not resolved here."""
    with pytest.raises(ValueError):  # noqa: PT011 - it says nothing: lxml will
        resolve_references(f"a{text}b")
