"""`soapbatch demo`: run one batch job from login to clean-up, on an embedded server of its own.

`soapbatch demo --online` does so on an embedded SuperOffice Online: from a customer number, over the state of the
tenant and the sign-in of a system user, to the job; and then the tenant moves.
"""

import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from importlib.util import find_spec
from typing import Final

from soapbatch.auth import UsernamePassword
from soapbatch.calls import Hooks
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.progress_bar import progress_bar
from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.jobs import Polling
from soapbatch.model import ALL_USER_TASKS, BatchTaskInfo, ExchangeRecord
from soapbatch.online import OnlineApp, SystemUser
from soapbatch.testing import DEMO_USER, ForwardingTransport, NetServer, Online, serve

_SPEED: Final = 4.0  # seconds of the server's clock in one second of real time
_JOB: Final = "ExportArchiveBatchPlugin"
_TENANT: Final = "Cust12345"
_NEW_HOST: Final = "sod3.superoffice.com"


async def demo(invocation: Invocation) -> None:
    """Log in, start a job, wait for its end, list tasks, fetch the output and delete the task, over a real socket.

    Raises:
        UsageError: rich or uvicorn is not installed; for `--online`, cryptography or PyJWT.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 - rich belongs to an extra
        from rich.table import Table  # noqa: PLC0415 - rich belongs to an extra
    except ImportError:
        raise UsageError('the demo needs rich and uvicorn: pip install "soapbatch[demo]"') from None
    console = Console(highlight=False)
    bullet = "*" if console.options.ascii_only else "•"

    def print_step(text: str) -> None:
        console.print(f"[bold green]{bullet}[/] {text}")

    def fast_clock() -> float:
        return time.monotonic() * _SPEED

    latest: deque[ExchangeRecord] = deque(maxlen=1)
    hooks = Hooks(on_exchange=latest.append)
    async with (_online if invocation.options.online else _on_site)(fast_clock, print_step, hooks) as (client, after):
        job = await client.jobs.start(_JOB, description="Nightly export", parameters={"archive": "contacts"})
        print_step(f"started {_JOB}: task {job.id}")
        with progress_bar(console) as show:
            polling = Polling(first=0.2, floor=0.2, ceiling=0.5)
            info = await job.wait(timeout=60, on_progress=show, polling=polling)
        print_step(f"{info.state}: {info.result}")

        table = Table("id", "name", "state", "percent", "description")
        for task in await client.batch.get_batch_task_infos_by_associates(ALL_USER_TASKS):
            table.add_row(*_cells(task))
        console.print(table)

        output = await job.output()
        print_step(f"its output, {info.file_name}, {len(output or b'')} bytes:")
        console.print((output or b"").decode(), style="cyan", end="")
        print_step("one request and its response, as sent (secrets masked):")
        await job.info()
        console.print(str(latest[0]), style="dim", markup=False, soft_wrap=True)
        await client.batch.delete_batch_task(job.id)
        after()
        print_step(f"deleted task {job.id}; it is now {await client.batch.get_batch_task_info(job.id)}")


@contextlib.asynccontextmanager
async def _on_site(
    clock: Callable[[], float], print_step: Callable[[str], None], hooks: Hooks
) -> AsyncGenerator[tuple[Client, Callable[[], None]]]:
    """Yield a client of an embedded NetServer, and what to do before the last call."""
    credentials = UsernamePassword(DEMO_USER.name, DEMO_USER.password)
    async with serve(NetServer(clock=clock)) as url, Client(url, credentials=credentials, hooks=hooks) as client:
        print_step(f"an embedded NetServer listens at {url}")
        ticket = await client.ticket()
        print_step(f"logged in as {DEMO_USER.name}: {ticket.value}")
        yield client, lambda: None


@contextlib.asynccontextmanager
async def _online(
    clock: Callable[[], float], print_step: Callable[[str], None], hooks: Hooks
) -> AsyncGenerator[tuple[Client, Callable[[], None]]]:
    """Yield a client of a tenant of an embedded SuperOffice Online, and what lets the tenant move."""
    if find_spec("cryptography") is None or find_spec("jwt") is None:
        raise UsageError('the demo of SuperOffice Online needs more: pip install "soapbatch[demo,online]"')
    online = Online(clock=clock)
    registered, place = online.add_app("Demo App"), online.add_tenant(_TENANT)
    token = online.approve(registered, place)
    async with (
        serve(online) as url,
        OnlineApp(
            environment="sod",
            client_secret=registered.client_secret,
            private_key=registered.private_key,
            transport=ForwardingTransport(url),
        ) as app,
        app.client(_TENANT, SystemUser(token), hooks=hooks) as client,
    ):
        print_step(f"an embedded SuperOffice Online listens at {url}; its sign-in host is {online.environment.host}")
        state = await app.tenant(_TENANT).state()
        print_step(f"the state of {_TENANT} is {state.state}; it lives at {state.endpoint}, {state.version}")
        ticket = await client.ticket()
        print_step(
            f"signed in as the system user of {registered.name}, with a signed token and a checked JWT: {ticket.value}"
        )

        def move() -> None:
            print_step(f"{_TENANT} moves from {place.host} to {_NEW_HOST}")
            online.move(_TENANT, _NEW_HOST)

        yield client, move
        for endpoint in ("state", "system_user", "jwks"):
            print_step(f"requests to the sign-in host for {endpoint}: {online.counts[endpoint]}")
        print_step(f"hosts of the tenant, in the order of the calls: {', '.join(_hosts(online))}")


def _hosts(online: Online) -> list[str]:
    """Return the hosts that were sent calls, with the answers' statuses."""
    visits = [visit for visit in online.journal if visit.endpoint == "tenant"]
    return [*dict.fromkeys(f"{visit.host} ({visit.status})" for visit in visits)]


def _cells(task: BatchTaskInfo) -> list[str]:
    """Return one row of the table of tasks."""
    return [str(value) for value in (task.id, task.name, task.state, task.progress_percent, task.description)]
