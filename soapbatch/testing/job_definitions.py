"""The jobs that the embedded server knows: how long they take, how they end, what they leave behind."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs

from soapbatch.errors import UsageError
from soapbatch.model import BatchTaskCancellationBehaviour, BatchTaskState

Output: TypeAlias = bytes | Callable[[], Iterable[bytes]]
"""The content of an output file; or what makes it anew, piece by piece, for files too large to hold."""

TERMINAL: Final = frozenset({BatchTaskState.SUCCEEDED, BatchTaskState.FAILED, BatchTaskState.SUCCEEDED_MANUAL_CLEANUP})
"""The states that a task does not leave by itself."""


@attrs.frozen(kw_only=True)
class JobDefinition:
    """What a job of some name does on the server.

    Attributes:
        duration: seconds from its (last) start to its end; `math.inf`: it never ends by itself.
        steps: (percent, progress description), spread evenly over `duration`; none: percent grows with time.
        outcome: the terminal state.
        result: the task's `result` once it has ended by itself.
        output: the file that it leaves when it succeeds, or None.
        file_name: of the output.
        restarts: for each start that comes to nothing, the seconds after which the server queues it again.
        cancellation_behaviour: whether it may be stopped.
        vanishes_after: seconds after its end at which the server forgets the task; None: never.
        is_system_task: whether it runs as the system.
        is_internal_task: whether it is hidden from users' lists in the product.
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
        """Refuse what no task could show with a UsageError."""
        if self.outcome not in TERMINAL:
            message = "outcome is SUCCEEDED, FAILED or SUCCEEDED_MANUAL_CLEANUP: a job ends in no other state"
        elif min(self.duration, *self.restarts, 0) < 0 or math.inf in self.restarts:
            message = "duration is 0 seconds or more, and so is each of restarts, which are finite too"
        elif any(not 0 <= percent <= 100 or len(text) > 254 for percent, text in self.steps):  # noqa: PLR2004 - the wire's
            message = "steps are pairs of 0 to 100 percent and at most 254 characters"
        elif len(self.file_name or "") > 260:  # noqa: PLR2004 - the wire's limit
            message = "file_name is at most 260 characters long"
        else:
            return
        raise UsageError(message)

    def progress(self, seconds: float) -> tuple[int, str]:
        """Return percent and progress description after `seconds` of running."""
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
"""The jobs that a new embedded server knows, for the demo and for first steps."""
