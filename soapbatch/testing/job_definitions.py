"""The jobs that the embedded server can run: their duration, their outcome and their output."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import attrs

from soapbatch.errors import UsageError
from soapbatch.model import BatchTaskCancellationBehaviour, BatchTaskState, utf16_length

Output: TypeAlias = bytes | Callable[[], Iterable[bytes]]
"""The content of an output file, or a function that returns the content in pieces, for files too large for memory."""

_LONGEST_DESCRIPTION: Final = 254  # UTF-16 units; NetServer's limit, like the next
_LONGEST_FILE_NAME: Final = 260


@attrs.frozen(kw_only=True)
class JobDefinition:
    """What the tasks of a job do on the embedded server.

    Attributes:
        duration: seconds from the last start to the end; `math.inf`: the task runs until it is stopped.
        steps: pairs of percent and progress description, each shown for an equal part of `duration`. Without steps,
            percent grows with time.
        outcome: the state at the end, a terminal one.
        result: the task's `result` after the end.
        output: the output file of a task that succeeded; None: there is none.
        file_name: the name of the output file.
        restarts: for each start that is broken off, the seconds after which the server queues the task again.
        cancellation_behaviour: whether the task can be stopped.
        vanishes_after: seconds after the end at which the server deletes the task; None: never.
        is_system_task: whether the task runs as the system, whoever starts it.
        is_internal_task: whether SuperOffice hides the task from users' lists.
    """

    duration: float = 10.0
    steps: Sequence[tuple[int, str]] = ()
    outcome: BatchTaskState = BatchTaskState.SUCCEEDED
    result: str | None = None
    output: Output | None = None
    file_name: str | None = None
    restarts: Sequence[float] = ()
    cancellation_behaviour: BatchTaskCancellationBehaviour = BatchTaskCancellationBehaviour.CAN_CANCEL
    vanishes_after: float | None = None
    is_system_task: bool = False
    is_internal_task: bool = False

    def __attrs_post_init__(self) -> None:
        """Raise a UsageError for values that no task can have."""
        if not (isinstance(self.outcome, BatchTaskState) and self.outcome.is_terminal):
            raise UsageError("outcome is SUCCEEDED, FAILED or SUCCEEDED_MANUAL_CLEANUP: a job ends in no other state")
        if min(self.duration, *self.restarts, 0) < 0 or math.inf in self.restarts:
            raise UsageError("duration and restarts are 0 seconds or more, and restarts are finite")
        if any(not 0 <= percent <= 100 or utf16_length(text) > _LONGEST_DESCRIPTION for percent, text in self.steps):  # noqa: PLR2004 - percent
            raise UsageError(f"steps are pairs of 0 to 100 percent and at most {_LONGEST_DESCRIPTION} characters")
        if utf16_length(self.file_name or "") > _LONGEST_FILE_NAME:
            raise UsageError(f"file_name is at most {_LONGEST_FILE_NAME} characters long")

    @classmethod
    def of_values(cls, name: str, values: Mapping[str, Any]) -> "JobDefinition":
        """Return the definition of the job `name` from values as JSON and TOML have them.

        States and behaviours are texts, such as "Failed"; `output` may be text, which is written as UTF-8.

        Raises:
            UsageError: a field is unknown, or a value is none that the field can have.
        """
        known = {field.name for field in attrs.fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise UsageError(f"job {name}: there is no {', '.join(unknown)}; a job has {', '.join(sorted(known))}")
        given = dict(values)
        try:
            if "outcome" in given:
                given["outcome"] = BatchTaskState(given["outcome"])
            if "cancellation_behaviour" in given:
                given["cancellation_behaviour"] = BatchTaskCancellationBehaviour(given["cancellation_behaviour"])
            if "steps" in given:
                given["steps"] = [(int(percent), str(text)) for percent, text in given["steps"]]
            if isinstance(given.get("output"), str):
                given["output"] = given["output"].encode()
            return cls(**given)
        except (TypeError, ValueError, UsageError) as error:
            raise UsageError(f"job {name}: {error}") from None

    def progress(self, seconds: float) -> tuple[int, str]:
        """Return percent and progress description of a task that has run for `seconds`."""
        share = 1.0 if seconds >= self.duration else seconds / self.duration
        if self.steps:
            return self.steps[min(int(share * len(self.steps)), len(self.steps) - 1)]
        return int(share * 100), ""


PREDEFINED: Final[Mapping[str, JobDefinition]] = MappingProxyType(
    {
        "ExportArchiveBatchPlugin": JobDefinition(
            duration=6.0,
            steps=(
                (0, "Preparing"),
                (10, "Reading contacts"),
                (30, "Reading persons"),
                (55, "Reading appointments"),
                (75, "Writing the workbook"),
                (95, "Compressing"),
            ),
            outcome=BatchTaskState.SUCCEEDED_MANUAL_CLEANUP,
            result="5 rows exported",
            output=b"id;name\r\n1;Ada\r\n2;Bob\r\n3;Cleo\r\n4;Dag\r\n5;Eve\r\n",
            file_name="export.csv",
        ),
        "FailingBatchPlugin": JobDefinition(
            duration=4.0, outcome=BatchTaskState.FAILED, result="There is no such archive"
        ),
        "EndlessBatchPlugin": JobDefinition(duration=math.inf),
        "UpgradeDatabaseBatchPlugin": JobDefinition(
            duration=600.0, cancellation_behaviour=BatchTaskCancellationBehaviour.CANNOT_CANCEL
        ),
        "NightlySystemBatchPlugin": JobDefinition(duration=60.0, is_system_task=True),
    }
)
"""The jobs that every embedded server has, for the demo and for first experiments."""
