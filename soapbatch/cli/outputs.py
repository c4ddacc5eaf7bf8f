"""`soapbatch output`, and the saving of `run`: to a file, or to standard output."""

import codecs
import contextlib
import os
import re
import sys
from typing import Final

from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.output import Output
from soapbatch.errors import JobGone, UsageError
from soapbatch.jobs import Job
from soapbatch.model import BatchTaskInfo
from soapbatch.operations import GET_OUTPUT_FROM_BATCH

_STDOUT: Final = "-"
# What has no business on a terminal: control characters other than tab, line feed, form feed and carriage return.
_BINARY: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


async def output(invocation: Invocation) -> int:
    """Save or print the output of a task."""
    options, out = invocation.options, invocation.output
    GET_OUTPUT_FROM_BATCH.check_version(invocation.settings.version)
    async with invocation.client() as client:
        job = client.jobs.attach(options.id)
        target = options.output_file
        if target is None:
            target = server_name(await job.info()) if sys.stdout.isatty() else _STDOUT
        size = await save(job, target, out, replaces=options.output_file is not None)
    if size is None:
        raise JobGone(f"task {options.id} left no output", id=options.id, applied="no")
    if target != _STDOUT and out.is_json:
        out.write_json({"id": options.id, "file": target, "bytes": size})
    elif target != _STDOUT:
        out.write(target)
    return ExitStatus.DONE


def server_name(info: BatchTaskInfo) -> str:
    """Return the server's name of an output, without folders; one made of the task's id, if there is none."""
    name = re.split(r"[/\\]", info.file_name or "")[-1]
    is_usable = name.strip(". ") and name.isprintable()
    return name if is_usable else f"task-{info.id}.out"


async def save(job: Job, target: str, out: Output, *, replaces: bool) -> int | None:
    """Write the output of a job to a file or to standard output ("-"); return its size, None: there is none.

    Raises:
        UsageError: the file exists, and may not be replaced; or the output is binary, for a terminal.
        OSError: it cannot be written.
    """
    if target == _STDOUT:
        return await _print(job)
    if not replaces and os.path.lexists(target):  # noqa: ASYNC240 - one look, and nothing else is going on
        raise UsageError(f"{target} exists already: -O {target} replaces it")
    size = await job.save_output(target)
    if size is not None:
        out.say(f"saved {size} bytes")
    return size


async def _print(job: Job) -> int | None:
    """Write the output to standard output while it arrives. No binary data reaches a terminal."""
    is_terminal = sys.stdout.isatty()
    sys.stdout.flush()
    return await job.save_output(_Terminal() if is_terminal else sys.stdout.buffer)  # type: ignore[arg-type]  # all that is used of a file


class _Terminal:
    """Standard output, for text only."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, piece: bytes) -> int:
        """Write a piece of text. Raises UsageError for anything else."""
        text = None
        with contextlib.suppress(UnicodeDecodeError):
            text = self._decoder.decode(piece)
        if text is None or _BINARY.search(text):
            raise UsageError("the output is binary, which a terminal cannot show: -O FILE saves it")
        sys.stdout.write(text)
        sys.stdout.flush()
        return len(piece)
