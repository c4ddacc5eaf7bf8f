"""`soapbatch serve`: a process for tests in any language: when it is ready, what it does, and when it ends."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from soapbatch import BatchTaskState, Client, UsageError, UsernamePassword
from soapbatch.cli import main, serve
from soapbatch.cli.serve import read_jobs
from soapbatch.errors import Fault

NODE_SOAP = "soap@1"
INSTALLED_WITHIN = 60.0
"""Seconds for the installation of node-soap."""

JOBS = """
[Export]
duration = 1800
output = "result"
file_name = "export.csv"

["Nightly Import"]
outcome = "Failed"
output_file = "output.bin"
"""


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, str]]]:
    """Run `soapbatch serve` and yield the process and its first line."""
    command = [sys.executable, "-W", "error", "-m", "soapbatch", "serve", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603 - this interpreter
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())
        finally:
            running.kill()


def end_of(running: "subprocess.Popen[bytes]") -> tuple[int, bytes, bytes]:
    """Return the exit status of a process that should end, and what it wrote."""
    output, errors = running.communicate(timeout=30)
    return running.returncode, output, errors


async def test_a_process_serves_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """One line when it is ready; jobs and failures as asked for; status 0 after SIGTERM, and nothing on stderr."""
    (tmp_path / "jobs.toml").write_text(JOBS)
    (tmp_path / "output.bin").write_bytes(b"\0")
    with process("--job", str(tmp_path / "jobs.toml"), "--speed", "0", "--failures", "fault", "--control") as (
        run,
        ready,
    ):
        assert ready == {"url": ready["url"], "control": f"{ready['url']}/_control"}
        assert ready["url"].startswith("http://127.0.0.1:")
        async with (
            Client(ready["url"], credentials=UsernamePassword("demo", "demo")) as client,
            httpx.AsyncClient(trust_env=False) as http,
        ):
            job = await client.jobs.start("Export")
            with pytest.raises(Fault):
                await client.batch.stop_batch_job(42)
            await http.post(f"{ready['control']}/advance", json={"seconds": 3600})
            info = await client.batch.get_batch_task_info(job.id)
            assert info is not None
            assert (info.state, info.file_name) == (BatchTaskState.SUCCEEDED, "export.csv")
            assert await job.output() == b"result"
        run.send_signal(signal.SIGTERM)
        assert end_of(run) == (0, b"", b"")


def test_a_process_ends_with_the_program_that_started_it() -> None:
    """When standard input is closed, the process ends by itself, whatever came through it before."""
    with process() as (run, ready):
        assert set(ready) == {"url"}
        assert run.stdin is not None
        run.stdin.write(b"x" * 10_000)
        run.stdin.flush()
        time.sleep(0.2)
        assert run.poll() is None
        assert end_of(run)[0] == 0


def test_a_process_without_standard_input_lives_on() -> None:
    """/dev/null is no pipe whose other end has gone: background processes of a shell have it."""
    command = [sys.executable, "-m", "soapbatch", "serve"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:  # noqa: S603 - this interpreter
        assert running.stdout is not None
        json.loads(running.stdout.readline())
        time.sleep(0.3)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0


# In this process, where coverage sees it.


def served(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, stdin: Any) -> tuple[int, str]:
    """Run the command until standard input is closed, and return the exit status and what was written."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "stdout", output)
    return main(["serve", *arguments]), output.getvalue()


def test_the_command_ends_with_its_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers of signals are as before afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    reading, writing = os.pipe()
    os.write(writing, b"what comes through it is not read")
    threading.Timer(0.3, os.close, [writing]).start()
    with os.fdopen(reading) as stdin:
        status, output = served(["--control"], monkeypatch, stdin)
    assert status == 0
    assert list(json.loads(output)) == ["url", "control"]
    assert signal.getsignal(signal.SIGTERM) is before


def no_pipe() -> Iterator[Any]:
    """Yield what standard input may be in its stead."""
    yield None
    yield io.StringIO()
    with Path(os.devnull).open(encoding="utf-8") as device:
        yield device


def test_without_a_pipe_a_signal_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no standard input, or it is no pipe, the command runs until a signal."""
    for stdin in no_pipe():
        ticking = threading.Timer(0.4, os.kill, [os.getpid(), signal.SIGTERM])
        ticking.start()
        begun = time.monotonic()
        status, _ = served([], monkeypatch, stdin)
        assert status == 0
        assert time.monotonic() - begun >= 0.3


async def test_the_end_of_a_socket_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs give their children a socket pair; a loop that is gone by then does no harm."""
    ours, theirs = socket.socketpair()
    with theirs.makefile() as stdin:
        theirs.close()
        monkeypatch.setattr(sys, "stdin", stdin)
        with serve.end_signals() as end:
            ours.close()
            async with asyncio.timeout(10):
                await end.wait()


def test_jobs_are_read_from_toml(tmp_path: Path) -> None:
    """Each table is a job; an output may be a file beside it."""
    (tmp_path / "jobs.toml").write_text(JOBS)
    (tmp_path / "output.bin").write_bytes(b"\xff\0")
    jobs = read_jobs(tmp_path / "jobs.toml")
    assert list(jobs) == ["Export", "Nightly Import"]
    assert (jobs["Export"].duration, jobs["Export"].output) == (1800, b"result")
    assert (jobs["Nightly Import"].outcome, jobs["Nightly Import"].output) == (BatchTaskState.FAILED, b"\xff\0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("duration = 3", "duration stands outside of a table: each job is a table, such as \\[duration\\]"),
        ("[Export", "is not TOML"),
        ("[Export]\nseconds = 3", "job Export: there is no seconds; a job has"),
        ("[Export]\nduration = -3", "job Export: duration and restarts are 0 seconds or more"),
        ("[Export]\nduration = 'x'", "job Export: "),
        ("[Export]\noutput_file = 'none.bin'", "jobs.toml: No such file"),
    ],
)
def test_wrong_jobs_are_explained(tmp_path: Path, text: str, words: str) -> None:
    """The error names the file or the job."""
    (tmp_path / "jobs.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_jobs(tmp_path / "jobs.toml")


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A personality that does not exist, a file that does not exist: exit status 2 and one line."""
    assert main(["serve", "--personality", "wcf"]) == 2
    assert main(["serve", "--job", str(tmp_path / "none.toml")]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert [line.partition(":")[0] for line in written.err.splitlines()] == ["soapbatch", "soapbatch"]


# Another language's SOAP client.

SCRIPT = """
const soap = require("soap");

async function main(url, control) {
  const principal = await soap.createClientAsync(`${url}/Remote/Services88/SoPrincipal.svc?wsdl`);
  const [login] = await principal.AuthenticateUsernamePasswordAsync({ UserName: "demo", Password: "demo" });
  const batch = await soap.createClientAsync(`${url}/Remote/Services88/Batch.svc?wsdl`);
  const namespace = "http://www.superoffice.net/ws/crm/NetServer/Services88";
  batch.addSoapHeader({ Credentials: { Ticket: login.Credentials.Ticket } }, "", "tns", namespace);
  const [started] = await batch.StartBatchJobAsync({ BatchTaskInfo: { Name: "Export", Description: "from node" } });
  const post = (command, body) => fetch(`${control}/${command}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  await post("advance", { seconds: 3600 });
  const [task] = await batch.GetBatchTaskInfoAsync({ BatchTaskId: started.Response, Id: started.Response });
  await post("script", { operation: "StopBatchJob", steps: ["lost_reply"] });
  let lost = "";
  try { await batch.StopBatchJobAsync({ Id: started.Response }); } catch (error) { lost = error.code || error.message; }
  const calls = await (await fetch(`${control}/calls?operation=StartBatchJob`)).json();
  console.log(JSON.stringify({ id: started.Response, state: task.Response.State, lost: lost !== "", calls }));
}

main(process.argv[2], process.argv[3]).catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="session")
def node_soap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which node-soap is installed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), NODE_SOAP]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLED_WITHIN, check=False)  # noqa: S603 - npm
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install node-soap within {INSTALLED_WITHIN:g} s")
    if done.returncode:
        pytest.skip(f"npm could not install node-soap: {done.stderr.strip()[-300:]}")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_node_soap_can_use_it(node_soap: Path, tmp_path: Path) -> None:
    """node-soap reads the WSDL, logs in, starts a job, and sees time and failures that its test asked for."""
    (tmp_path / "jobs.toml").write_text(JOBS.partition('["Nightly')[0])
    script = node_soap / "test.js"
    script.write_text(SCRIPT)
    with process("--job", str(tmp_path / "jobs.toml"), "--speed", "0", "--control") as (_, ready):
        done = subprocess.run(  # noqa: S603 - node
            [str(shutil.which("node")), str(script), ready["url"], ready["control"]],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (call,) = found.pop("calls")
    assert found == {"id": 1, "state": "Succeeded", "lost": True}
    assert call["arguments"]["batch_task_info"] == {"name": "Export", "description": "from node"}
