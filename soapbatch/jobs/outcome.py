"""The result of an operation on many tasks: one outcome for each id."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import attrs

from soapbatch.errors import SoapBatchError

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Outcome(Generic[T]):
    """The outcome for one of many tasks.

    Attributes:
        id: the task's number.
        result: what the operation returned; None if it failed.
        error: why the operation failed, or None. `error.applied` says whether the server may have carried it out
            although it failed.
    """

    id: int
    result: T | None = None
    error: SoapBatchError | None = None

    @property
    def ok(self) -> bool:
        """Whether there was no error."""
        return self.error is None


def raise_errors(outcomes: Sequence[Outcome[Any]], what: str) -> None:
    """Raise an ExceptionGroup with the errors of `outcomes`, if there are any.

    Several outcomes may share one error, for example the error of a call about 100 tasks. The group holds such an
    error once, with a note that lists the ids. `what`: the participle in the group's message, for example "deleted".
    """
    errors: dict[int, SoapBatchError] = {}  # by identity
    ids: dict[int, list[int]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            errors[id(outcome.error)] = outcome.error
            ids.setdefault(id(outcome.error), []).append(outcome.id)
    if not errors:
        return
    for key, error in errors.items():
        error.add_note(f"about task {', '.join(map(str, ids[key]))}")
    raise ExceptionGroup(
        f"{sum(map(len, ids.values()))} of {len(outcomes)} tasks could not be {what}", list(errors.values())
    )
