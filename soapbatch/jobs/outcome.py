"""The result of an operation on many tasks: one outcome for each of them, a success or a failure.

    for outcome in await client.jobs.wait_all(jobs):
        if outcome.error is None:
            show(outcome.result)  # a type checker knows that there is one
        else:
            report(outcome.id, outcome.error)

`isinstance` and `match` tell a type checker the same, and so does `outcome.ok` alone, but not pyright.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, NoReturn, TypeAlias, TypeVar

import attrs

from soapbatch.errors import SoapBatchError

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Success(Generic[T]):
    """The operation worked for this task.

    Attributes:
        id: the task's number.
        result: what the operation returned.
        error: None.
        ok: True.
    """

    id: int
    result: T
    error: ClassVar[None] = None
    ok: ClassVar[Literal[True]] = True

    def unwrap(self) -> T:
        """Return the result."""
        return self.result


@attrs.frozen(kw_only=True)
class Failure:
    """The operation failed for this task.

    Attributes:
        id: the task's number; None: a start failed, and there is no task, or its number is not known.
        error: why. `error.applied` says whether the server may have carried the operation out although it failed.
        result: None.
        ok: False.
    """

    id: int | None
    error: SoapBatchError
    result: ClassVar[None] = None
    ok: ClassVar[Literal[False]] = False

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


Outcome: TypeAlias = Success[T] | Failure
"""The outcome for one of many tasks: `error` is None, or `ok` is true, for a success."""
Outcomes: TypeAlias = list[Success[T] | Failure]
"""One outcome for each of many tasks, in order."""


def raise_errors(outcomes: Sequence[Outcome[Any]], what: str) -> None:
    """Raise an ExceptionGroup with the errors of `outcomes`, if there are any.

    Several outcomes may share one error, for example the error of a call about 100 tasks. The group holds such an
    error once, with a note that lists the ids. `what`: the participle in the group's message, for example "deleted".
    """
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if not failures:
        return
    errors = {id(failure.error): failure.error for failure in failures}
    for key, error in errors.items():
        ids = [failure.id for failure in failures if id(failure.error) == key and failure.id is not None]
        if ids:
            error.add_note(f"about task {', '.join(map(str, ids))}")
    raise ExceptionGroup(f"{len(failures)} of {len(outcomes)} tasks could not be {what}", [*errors.values()])
