"""What workflows and activities exchange: standard dataclasses, which Temporal's default converter writes as JSON.

Histories are readable, and old histories are read by new releases: no secrets, and new fields only with defaults.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from soapbatch.model import BatchTaskInfo, redact

WEEK: Final = 7 * 24 * 3600.0
"""Seconds: the default `timeout` of a job."""
HEARTBEAT_TIMEOUT: Final = 30.0
"""Seconds without a heartbeat after which a worker counts as lost, unless a job says otherwise."""
MEMO: Final = "soapbatch"
"""The name of the memo in which `RunBatchJob` keeps its `BatchJobProgress`."""

Phase: TypeAlias = Literal[
    "queueing", "starting", "waiting", "saving", "cleaning", "stopping", "succeeded", "failed", "stopped"
]


@dataclass(frozen=True)
class BatchJob:
    """A job to run. It stands in the workflow's history, which is readable: no secrets.

    Attributes:
        tenant: whose job: what `connect` is called with.
        name: the job's name, as the server defines it.
        parameters: the job's parameters.
        description: a text for people.
        output: the name under which `save=` of the plugin saves the output; None: the output is not fetched.
        marker: where the task carries the key of its start: "parameter" or "description"; see `Marker`.
        cleanup: whether the server may remove the output once it is saved.
        timeout: seconds for the start and for the wait each, with all attempts and the time without any worker.
        settle: seconds after which neither the server nor a proxy still works on a lost StartBatchJob.
        heartbeat_timeout: seconds without a heartbeat after which another worker takes over.
        max_running: how many jobs of the tenant may run at the same time, in the whole fleet; None: any number. The
            number of the latest job holds. Jobs with None are not counted.
        search_attribute: the name of a search attribute of the type Keyword that shows the phase, or None. It must be
            defined on the Temporal server: a workflow that writes an unknown one does not go on.
    """

    tenant: str
    name: str
    parameters: dict[str, str | None] | None = None
    description: str | None = None
    output: str | None = None
    marker: Literal["parameter", "description"] = "parameter"
    cleanup: bool = True
    timeout: float = WEEK
    settle: float = 120.0
    heartbeat_timeout: float = HEARTBEAT_TIMEOUT
    max_running: int | None = None
    search_attribute: str | None = None


@dataclass(frozen=True)
class JobTask:
    """What every activity takes.

    Attributes:
        job: the job.
        key: of its start.
        id: of its task; None: not known (yet).
    """

    job: BatchJob
    key: str
    id: int | None = None


@dataclass(frozen=True)
class TaskFacts:
    """What the server last said about a task. It is also the detail of the ApplicationError for JobFailed.

    Attributes:
        id: of the task.
        name: of the job.
        state: for example "Succeeded".
        percent: 0 to 100, or None.
        progress: what the job does, in its own words.
        result: what the job says after its end.
        description: of the task.
        file_name: of the output.
        start_count: how often the server has started the task.
    """

    id: int | None = None
    name: str | None = None
    state: str | None = None
    percent: int | None = None
    progress: str | None = None
    result: str | None = None
    description: str | None = None
    file_name: str | None = None
    start_count: int | None = None

    @classmethod
    def of(cls, info: BatchTaskInfo | None, id: int | None = None) -> "TaskFacts":
        """Return the facts of a task, with tokens masked; `id`: of a task that was not read."""
        if info is None:
            return cls(id=id)
        return cls(
            id=info.id,
            name=info.name,
            state=None if info.state is None else str(info.state),
            percent=info.progress_percent,
            progress=masked(info.progress_description),
            result=masked(info.result),
            description=masked(info.description),
            file_name=info.file_name,
            start_count=info.start_count,
        )


@dataclass(frozen=True)
class FinishedJob:
    """The result of a job that has succeeded.

    Attributes:
        tenant: whose job.
        task: the finished task.
        output: what `save=` returned, for example the path; None: nothing was saved.
    """

    tenant: str
    task: TaskFacts
    output: str | None = None


@dataclass(frozen=True)
class StoppedJob:
    """What became of a job whose workflow was cancelled.

    Attributes:
        task: the task as it was last read.
        note: why the job was not stopped, or None.
    """

    task: TaskFacts
    note: str | None = None


@dataclass(frozen=True)
class BatchJobProgress:
    """How far a job is.

    Attributes:
        phase: what the workflow does, or how it ended.
        task: what the workflow knows of the task. `read_progress` adds the percent of the last heartbeat.
        note: what else there is to say, for example why a cancelled job was not stopped.
    """

    phase: Phase
    task: TaskFacts = TaskFacts()
    note: str | None = None


def masked(text: str | None) -> str | None:
    """Return `text` with tokens masked."""
    return None if text is None else redact(text)
