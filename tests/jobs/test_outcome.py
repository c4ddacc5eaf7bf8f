"""Outcomes: a success or a failure, for people and for type checkers."""

from typing import assert_type

import pytest

from soapbatch import BatchTaskInfo, ConnectionLost, Outcome, SoapBatchError
from soapbatch.jobs import Failure, Success
from soapbatch.jobs.outcome import raise_errors

INFO = BatchTaskInfo(id=1)
LOST = ConnectionLost("lost")
OUTCOMES: list[Outcome[BatchTaskInfo]] = [Success(id=1, result=INFO), Failure(id=2, error=LOST)]


def test_an_outcome_narrows() -> None:
    """A type checker that knows `ok`, or the class, knows whether there is a result or an error."""
    for outcome in OUTCOMES:
        if outcome.ok:
            assert_type(outcome.result, BatchTaskInfo)
            assert_type(outcome.id, int)
            assert (outcome.id, outcome.result, outcome.error) == (1, INFO, None)
        else:
            assert_type(outcome.error, SoapBatchError)
            assert (outcome.id, outcome.result, outcome.error) == (2, None, LOST)
        match outcome:
            case Success(result=result):
                assert_type(result, BatchTaskInfo)
            case Failure(error=error):
                assert_type(error, SoapBatchError)


def test_unwrapping() -> None:
    """`unwrap` returns the result or raises the error."""
    success, failure = OUTCOMES
    info = success.unwrap()
    assert_type(info, BatchTaskInfo)
    assert info is INFO
    with pytest.raises(ConnectionLost) as caught:
        failure.unwrap()
    assert caught.value is LOST


def test_outcomes_are_values() -> None:
    """Equal outcomes are equal and hash alike."""
    assert Success(id=1, result=INFO) == Success(id=1, result=BatchTaskInfo(id=1))
    assert Success(id=1, result=INFO) != Success(id=2, result=INFO)
    assert len({*OUTCOMES, *OUTCOMES}) == 2


def test_a_failure_without_a_task_has_no_note() -> None:
    """The group holds the error of a start that has no id, without a note about a task."""
    error = ConnectionLost("no start")
    with pytest.raises(ExceptionGroup, match="1 of 2 tasks could not be started") as caught:
        raise_errors([Success(id=1, result=INFO), Failure(id=None, error=error)], "started")
    assert caught.value.exceptions == (error,)
    assert not hasattr(error, "__notes__")
