"""`soapbatch doctor`: everything between here and the list of tasks, one check after the other.

Only operations that change nothing are called, and the login. `checks` has the checks below the service.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from soapbatch.auth import Ticket
from soapbatch.cli.checks import (
    Check,
    RecordingPool,
    Target,
    check_clock,
    check_installed,
    check_name,
    check_round_trips,
    check_tcp,
    check_tls,
    find_target,
)
from soapbatch.cli.connecting import TicketFile, client_options, tenant_state
from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.output import printable, short_time
from soapbatch.cli.passwords import find_application_token
from soapbatch.cli.settings import Settings
from soapbatch.client import Client
from soapbatch.errors import (
    AccessDenied,
    AuthenticationFailed,
    BindingRefused,
    Fault,
    OperationFailed,
    SoapBatchError,
    TransportError,
    UsageError,
)
from soapbatch.model import ALL_USER_TASKS, BatchTaskState, Binding, Retries, ServiceVersion
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_ASSOCIATES_AND_STATE

NAMES: Final = (
    *("settings", "proxy", "name", "tcp", "tls", "address", "bindings", "clock", "service version"),
    *("application token", "login", "ticket", "right to list", "round trips", "installed"),
)
"""The checks, in their order."""
_STATUSES: Final = {
    "settings": ExitStatus.USAGE,
    "installed": ExitStatus.USAGE,
    "application token": ExitStatus.REFUSED,
    "login": ExitStatus.REFUSED,
    "ticket": ExitStatus.REFUSED,
    "right to list": ExitStatus.REFUSED,
}
_CALLS: Final = 5  # whose times are looked at
_LONGEST_CHECK: Final = 10.0  # seconds
_PREFIXES: Final = ("/Remote", "")
_ONCE: Final = Retries(attempts=1)


async def doctor(invocation: Invocation) -> int:
    """Check everything, and say what to do."""
    output = invocation.output
    async with contextlib.aclosing(_Examination(invocation).checks()) as found:
        checks = [check async for check in found]
    checks += [Check(name, "skip", "an earlier check failed") for name in NAMES if name not in {c.name for c in checks}]
    checks.sort(key=lambda check: NAMES.index(check.name))
    if output.form == "json":
        output.write_json({"checks": [attrs.asdict(check) for check in checks]})
    elif output.is_json:
        for check in checks:
            output.write_line(attrs.asdict(check))
    else:
        rows = [(check.status, check.name, _with_advice(check)) for check in checks]
        output.write_table(["", "check", "found"], rows)
    failed = [_STATUSES.get(check.name, ExitStatus.NO_ANSWER) for check in checks if check.status == "fail"]
    return failed[0] if failed else ExitStatus.DONE


def _with_advice(check: Check) -> str:
    return f"{check.detail} -> {check.advice}" if check.advice else check.detail


@attrs.define
class _Examination:
    """The checks of one server. Each uses what the ones before it have found."""

    invocation: Invocation
    pool: RecordingPool = attrs.field(factory=RecordingPool)
    target: Target | None = None
    version: ServiceVersion = ServiceVersion.V88
    answered: dict[Binding, SoapBatchError | None] = attrs.field(factory=dict)

    @property
    def settings(self) -> Settings:
        return self.invocation.settings

    @property
    def seconds(self) -> float:
        """How long a check may take."""
        return min(self.settings.timeout, _LONGEST_CHECK)

    async def checks(self) -> AsyncGenerator[Check]:
        """Yield each check; end where nothing more can be checked."""
        yield check_installed()
        async for check in self._way_and_service():
            yield check

    async def _way_and_service(self) -> AsyncGenerator[Check]:
        url, first = await self._settings()
        for check in first:
            yield check
        if url is None:
            return
        self.target, check = find_target(url)
        yield check
        steps = (check_name, check_tcp, check_tls)
        for step in steps if check.status != "fail" else ():
            check = await step(self.target, self.seconds)
            yield check
            if check.status == "fail":
                break
        if check.status == "fail":
            return
        try:
            async with contextlib.aclosing(self._service()) as found:
                async for check in found:
                    yield check
        finally:
            await self.pool.end()

    async def _settings(self) -> tuple[str | None, list[Check]]:
        """Return the base URL; and the check of the settings, and of a tenant that does not run."""
        try:
            settings = self.settings
            client_options(settings)  # raises if one is wrong
            shown = f"profile {settings.profile}, {settings.server}"
            if settings.tenant is None:
                return settings.address.base_url, [Check("settings", "ok", shown)]
        except UsageError as error:
            advice = "`soapbatch config show` shows where each comes from"
            return None, [Check("settings", "fail", str(error), advice)]
        found = Check("settings", "ok", shown)
        try:
            state = await tenant_state(settings)
        except SoapBatchError as error:
            return None, [
                found,
                Check("address", "fail", printable(error), "check tenant, environment and the network"),
            ]
        if not state.is_running or state.endpoint is None:
            until = f" until {state.valid_until}" if state.valid_until else ""
            return None, [
                found,
                Check("address", "fail", f"the tenant is {state.state}{until}", "wait, or ask the vendor"),
            ]
        return state.endpoint, [Check("settings", "ok", f"{shown}: {state.state} at {state.endpoint}")]

    async def _service(self) -> AsyncGenerator[Check]:
        check = await self._address()
        yield check
        if check.status == "fail":
            return
        yield check_clock(self.pool)
        check, binding = self._bindings()
        yield check
        if binding is None:
            return
        check, seconds = await self._versions(binding)
        yield check
        yield check_round_trips(seconds) if seconds else Check("round trips", "skip", "no call worked")
        if check.status == "fail":
            return
        check = self._application_token(binding)
        yield check
        if check.status == "fail":
            return
        for check in await self._login():
            yield check

    def client(self, **options: Any) -> Client:
        """Return a client without credentials, which sends each request once and over one pool."""
        prefix = None if self.settings.tenant is not None else self.settings.address.path_prefix
        common: dict[str, Any] = {
            "version": self.version,
            "path_prefix": prefix,
            "retries": _ONCE,
            "transport": self.pool,
            "timeout": self.seconds,
        }
        return Client(self.url, **(client_options(self.settings) | common | options))

    async def probe(self, **options: Any) -> SoapBatchError | None:
        """Call GetSystemInfo; return why it failed, or None."""
        async with self.client(**options) as client:
            try:
                await client.principal.get_system_info()
            except SoapBatchError as error:
                return error
        return None

    async def _address(self) -> Check:
        """Find out whether a NetServer answers at the address: in the version that is wanted, else in another one."""
        self.version = self.settings.version
        await self._try_bindings()
        if not self.is_answered:
            error = self.answered[Binding.SOAP11]
            if isinstance(error, TransportError):
                advice = "look at the proxy, and whether the service runs"
                return Check("address", "fail", f"no answer: {printable(error)}", advice)
            if (other := await self._other_version()) is None:
                return await self._no_address(error)
            self.version = other
            await self._try_bindings()
        return Check("address", "ok", f"a NetServer answers at {self.url} ({self.version})")

    @property
    def url(self) -> str:
        """The base URL that is examined."""
        assert self.target is not None  # noqa: S101 - found before the service is asked
        return self.target.url

    @property
    def is_answered(self) -> bool:
        """Whether a NetServer answers in any binding."""
        return any(map(_is_answer, self.answered.values()))

    async def _try_bindings(self) -> None:
        for binding in Binding:
            self.answered[binding] = await self.probe(binding=binding)

    async def _other_version(self) -> ServiceVersion | None:
        """Return the newest other version that is answered at the address."""
        for version in sorted(ServiceVersion, reverse=True):
            if version != self.version and _is_answer(await self.probe(version=version, binding=Binding.SOAP11)):
                return version
        return None

    async def _no_address(self, error: SoapBatchError | None) -> Check:
        """Return that no NetServer answers, and where one does: with `/Remote` in the path, or without it."""
        where = f"no NetServer answers: {printable(error)}"
        for prefix in _PREFIXES:
            if _is_answer(await self.probe(path_prefix=prefix, binding=Binding.SOAP11)):
                url = f"{self.url}{prefix}/{self.version}"
                return Check("address", "fail", where, f"one answers at {url}: soapbatch config set url {url}")
        advice = "the URL is everything before /Remote, for example https://crm.example.com/SuperOffice"
        return Check("address", "fail", where, advice)

    def _bindings(self) -> tuple[Check, Binding | None]:
        """Say which bindings are answered, and which to pin; return the one to go on with."""
        working = [binding for binding, error in self.answered.items() if error is None or _is_report(error)]
        names = ", ".join(binding.label for binding in working) or "none"
        pinned = self.settings.binding
        facts = {"answered": [binding.label for binding in working]}
        if not working:
            first = next(iter(self.answered.values()))
            return Check(
                "bindings", "fail", f"none is answered: {printable(first)}", "ask who runs the server", facts
            ), None
        best = Binding.SOAP11 if Binding.SOAP11 in working else working[0]
        pin = f"soapbatch config set binding {best.label}"
        if pinned is not None:
            if pinned in working:
                return Check("bindings", "ok", f"{names} answered; {pinned.label} is pinned", "", facts), pinned
            return Check(
                "bindings", "fail", f"{names} answered, and not {pinned.label}, which is pinned", pin, facts
            ), None
        if Binding.DOCUMENTED in working:
            return Check(
                "bindings", "ok", f"{names} answered; none is pinned, and none needs to be", "", facts
            ), working[0]
        return Check("bindings", "warn", f"{names} answered; each command tries documented first", pin, facts), best

    async def _versions(self, binding: Binding) -> tuple[Check, list[float]]:
        """Find out which service versions answer; return the times of calls, too."""
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def answers(version: ServiceVersion) -> bool:
            error = await self.probe(binding=binding, version=version)
            return error is None or _is_report(error)

        found = [v for v in ServiceVersion if await answers(v)]
        wanted = self.settings.version
        for _ in range(_CALLS if found else 0):
            began = loop.time()
            await self.probe(binding=binding)
            times.append(loop.time() - began)
        names = ", ".join(str(int(version)) for version in found) or "none"
        facts = {"answered": [int(version) for version in found], "wanted": int(wanted)}
        if wanted not in found:
            newest = f": soapbatch config set service_version {max(found):d}" if found else ""
            return Check(
                "service version", "fail", f"{wanted} is not answered; {names} are", f"use another{newest}", facts
            ), times
        if max(found) > wanted:
            advice = f"newer ones can do more: soapbatch config set service_version {max(found):d}"
            return Check("service version", "warn", f"{wanted} answers, and so does {max(found)}", advice, facts), times
        return Check("service version", "ok", f"{wanted} answers; of all: {names}", facts=facts), times

    def _application_token(self, binding: Binding) -> Check:
        token = find_application_token(self.settings)
        error = self.answered[binding]
        if _is_report(error):
            detail = f"the server refuses the call: {printable(error)}"
            advice = "set SOAPBATCH_APP_TOKEN or application_token_command to the client secret of the app"
            return Check("application token", "fail", detail, advice)
        if token is not None:
            return Check("application token", "ok", "set, and not refused")
        if self.settings.tenant is not None:
            return Check("application token", "fail", "not set", "SuperOffice Online requires one in every call")
        return Check("application token", "ok", "not set: a server on-site needs none")

    async def _login(self) -> list[Check]:
        """Log in, list tasks, and look at the ticket: the client has written it to the file when it is closed."""
        file = self.invocation.ticket_file
        is_static = self.settings.get("ticket") is not None
        had_ticket = not is_static and await file.ticket() is not None
        try:
            async with self.invocation.client() as client:
                await client.ticket()
                right = await self._right_to_list(client)
        except (SoapBatchError, OSError) as error:
            is_refusal = isinstance(error, AuthenticationFailed)
            advice = "check the user and the password: soapbatch login" if is_refusal else "soapbatch login"
            return [Check("login", "fail", printable(error), advice)]
        who = file.who().get("full_name") or self.settings.get("user") or self.settings.tenant
        how = "SOAPBATCH_TICKET is set" if is_static else f"{who}, by the kept ticket" if had_ticket else f"{who}"
        return [Check("login", "ok", how), _ticket_check(file, await file.ticket(), is_static=is_static), right]

    async def _right_to_list(self, client: Client) -> Check:
        name = "right to list"
        operation = GET_BATCH_TASK_INFOS_BY_ASSOCIATES_AND_STATE
        tasks = client.batch.stream(operation, associate_ids=ALL_USER_TASKS, state=BatchTaskState.STARTED)
        try:
            async with contextlib.aclosing(tasks):
                first = await anext(tasks, None)
        except SoapBatchError as error:
            is_ticket = getattr(error, "error_type", None) == "SoSessionException" or isinstance(error, AccessDenied)
            advice = "the ticket is refused: soapbatch login" if is_ticket else "ask for the right to see batch tasks"
            return Check(name, "fail", printable(error), advice)
        return Check(name, "ok", "tasks can be listed" + ("" if first else "; none is running"))


def _ticket_check(file: TicketFile, kept: Ticket | None, *, is_static: bool) -> Check:
    """Say how old the ticket is."""
    if is_static:
        return Check("ticket", "warn", "given from outside: its age is not known", "it ends 6 hours after its last use")
    now = datetime.now(UTC)
    if kept is None or kept.expires_at is None:
        return Check("ticket", "warn", f"it could not be kept in {file.path}", "check the folder: each command logs in")
    written = datetime.fromtimestamp(file.path.stat().st_mtime, UTC)
    ends = (kept.expires_at - now).total_seconds()
    age = (now - written).total_seconds()
    detail = f"kept since {short_time(age)}, ends in {short_time(ends)} unless it is used"
    return Check("ticket", "ok", detail, facts={"age_seconds": round(age), "ends_in_seconds": round(ends)})


def _is_answer(error: SoapBatchError | None) -> bool:
    """Return whether a NetServer, or another SOAP server, has answered: also with a refusal."""
    return error is None or isinstance(error, OperationFailed | Fault | BindingRefused)


def _is_report(error: SoapBatchError | None) -> bool:
    """Return whether NetServer itself reports an error, in a form of envelope that it has read."""
    return isinstance(error, OperationFailed) or (isinstance(error, Fault) and error.exception_info is not None)
