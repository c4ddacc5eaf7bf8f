"""`soapbatch start` and `soapbatch run`."""

from pathlib import Path
from typing import Any

from soapbatch.cli.connecting import start_job
from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.outputs import save, server_name
from soapbatch.cli.waiting import show_ended, wait_for
from soapbatch.client import Client
from soapbatch.errors import SoapBatchError, UsageError
from soapbatch.jobs import Job
from soapbatch.model import BatchTaskInfo
from soapbatch.operations import GET_OUTPUT_FROM_BATCH


async def start(invocation: Invocation) -> int:
    """Start a job and print the id of its task; with --wait, wait for its end."""
    output = invocation.output
    async with invocation.client() as client:
        job = await _started(invocation, client)
        if not invocation.options.wait:
            _write_id(invocation, job)
            return ExitStatus.DONE
        if not output.is_json:
            _write_id(invocation, job)
        outcome = (await wait_for(invocation, client, [job.id]))[0]
        if outcome.error is not None:
            return output.report(outcome.error)
        if output.is_json:
            output.write_json({"id": job.id, "task": outcome.result})
        return ExitStatus.DONE


async def run(invocation: Invocation) -> int:
    """Start a job, wait for its end, save its output and clean up."""
    options, output = invocation.options, invocation.output
    has_outputs = invocation.settings.version >= GET_OUTPUT_FROM_BATCH.since
    async with invocation.client() as client:
        job = await _started(invocation, client)
        output.say(f"started {options.name}: task {job.id}")
        outcome = (await wait_for(invocation, client, [job.id]))[0]
        if outcome.error is not None:
            return output.report(outcome.error)
        info = outcome.result
        assert info is not None  # noqa: S101 - an outcome has a result or an error
        invocation.running.clear()
        show_ended(output, info)
        found: dict[str, Any] = {"id": job.id, "task": info, "file": None, "bytes": None, "is_cleaned_up": False}
        if not has_outputs:
            output.say("outputs came with Services88: none was saved")
        else:
            try:
                found |= await _saved(invocation, job, info)
            except BrokenPipeError:
                raise
            except (SoapBatchError, OSError) as error:
                failure = error if isinstance(error, SoapBatchError) else UsageError(str(error))
                failure.add_note(f"the job worked, and its output was not saved: soapbatch output {job.id} -O FILE")
                return output.report(failure, ExitStatus.PARTLY)
    if options.output_file != "-":
        _write_run(invocation, found)
    return ExitStatus.DONE


async def _started(invocation: Invocation, client: Client) -> Job:
    options = invocation.options
    invocation.starting = options.name
    job = await start_job(
        client,
        options.name,
        parameters=dict(options.parameters),
        description=options.description,
        key=options.key,
        if_running=options.if_running,
    )
    invocation.starting = None
    invocation.running.append(job.id)
    return job


def _write_id(invocation: Invocation, job: Job) -> None:
    if invocation.output.is_json:
        invocation.output.write_json({"id": job.id, "name": invocation.options.name})
    else:
        invocation.output.write(str(job.id))


async def _saved(invocation: Invocation, job: Job, info: BatchTaskInfo) -> dict[str, Any]:
    """Save the output and let the server remove its copy; return what is known of the file then."""
    options, output = invocation.options, invocation.output
    target = options.output_file or server_name(info)
    size = await save(job, target, output, replaces=options.output_file is not None)
    if size is None:
        output.say(f"task {job.id} left no output")
        return {}
    found: dict[str, Any] = {"file": target, "bytes": size}
    if not options.keep:
        await job.cleanup()
        found["is_cleaned_up"] = True
    return found


def _write_run(invocation: Invocation, found: dict[str, Any]) -> None:
    output = invocation.output
    if output.is_json:
        output.write_json(found)
    elif output.form == "ids":
        output.write(str(found["id"]))
    elif found["file"] is not None:
        output.write(str(Path(found["file"])))
