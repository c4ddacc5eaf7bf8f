"""The page about observability: its trace, its tables and its dashboard are what the code writes."""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import attrs
import promql_parser
import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY

from soapbatch import Client, ConnectionLost, Hooks, UsernamePassword
from soapbatch.auth import TicketEvent
from soapbatch.calls import JobEvent
from soapbatch.calls.hooks import JobEventKind
from soapbatch.guide import observability
from soapbatch.testing import NetServer, Personality, answering, lost_request
from tests.support.clients import in_process, now, virtual
from tests.support.telemetry import Telemetry

PAGE = observability.__doc__ or ""
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)]
TRACE = next(block for block in BLOCKS if "INTERNAL" in block).strip("\n")
DASHBOARD: dict[str, Any] = json.loads(resources.files("soapbatch.guide").joinpath("dashboard.json").read_text("utf-8"))
SHOWN = ("soapbatch.attempt", "http.response.status_code", "error.type", "soapbatch.job.outcome")


def block_with(text: str) -> str:
    """Return the block of the page that has this text."""
    (block,) = [block for block in BLOCKS if text in block]
    return block.strip("\n")


def rows(first: str) -> list[list[str]]:
    """Return the cells of the table whose first heading this is."""
    (table,) = re.findall(rf"^\| {first} \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def names(cell: str) -> set[str]:
    """Return the names in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))


def busy_server() -> NetServer:
    """Return the server of the page: SOAP 1.1 alone, and busy when it is asked for the output."""
    server = NetServer(clock=now, personality=Personality.STRICT_SOAP11)
    server.intercept("GetOutputFromBatch", answering(503, {"Retry-After": "1"}))
    return server


async def run_program(program: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a program of the page as the body of a coroutine function; return its names."""
    exec(f"async def run():\n{textwrap.indent(program, '    ')}\n    return locals()", names)  # noqa: S102 - our own text
    made: dict[str, Any] = await names["run"]()
    return made


async def export(telemetry: Telemetry, **options: Any) -> None:
    """Run the program of the page's trace."""
    server = busy_server()
    credentials = UsernamePassword("demo", "demo")
    async with in_process(server, credentials=credentials, hooks=telemetry.hooks(**options)) as client:
        await run_program(block_with('nightly export")'), {"client": client, "tracer": telemetry.tracer})


def test_it_is_a_page() -> None:
    """Its lines fit on a screen, but for tables, and its programs are Python."""
    assert max(len(line) for line in PAGE.splitlines() if not line.startswith("|")) <= 120
    for block in BLOCKS:
        if block.strip("\n") != TRACE:
            compile(block, "page", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@virtual
async def _export_as_shown(telemetry: Telemetry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    await export(telemetry)


def test_the_trace_is_what_the_exporter_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of the page writes exactly the spans of the page."""
    telemetry = Telemetry()
    _export_as_shown(telemetry, tmp_path, monkeypatch)
    assert telemetry.tree(*SHOWN) == TRACE


async def everything(telemetry: Telemetry) -> None:
    """Do what writes each attribute: a job, lists, refused tickets, logins that fail."""
    server = NetServer(clock=now)
    server.define_job("Export", duration=2)
    credentials = UsernamePassword("demo", "demo")
    async with in_process(server, credentials=credentials, hooks=telemetry.hooks()) as client:
        jobs = [await client.jobs.start("Export") for _ in range(4)]
        await client.jobs.wait_all(jobs[:3])
        await jobs[3].wait()
        server.tickets.revoke((await client.ticket()).value.reveal())
        server.intercept("StopBatchJob", lost_request)
        with pytest.raises(ConnectionLost):
            await client.batch.stop_batch_job(1)
        server.tickets.refuse_logins = "flag"
        server.tickets.revoke((await client.ticket()).value.reveal())
        with pytest.raises(Exception, match="gives no ticket"):
            await client.batch.stop_batch_job(1)


@virtual
async def test_the_table_of_attributes() -> None:
    """It has each attribute of each kind of span, and no other one."""
    telemetry = Telemetry()
    await everything(telemetry)
    found: dict[str, set[str]] = {"calls": set(), "requests": set(), "ends of jobs": set()}
    for span in telemetry.spans():
        kind = "requests" if span.name == "POST" else "calls" if span.kind is SpanKind.CLIENT else "ends of jobs"
        found[kind] |= set(span.attributes or {})
    found["ends of jobs"].add("error.type")  # of a job that failed: test_opentelemetry
    documented: dict[str, set[str]] = {kind: set() for kind in found}
    for attribute, of, _ in rows("attribute"):
        for kind in found if of == "all" else of.split(", "):
            documented[kind] |= names(attribute)
    assert documented == found


@virtual
async def test_the_table_of_metrics() -> None:
    """It has each metric with its unit and its attributes."""
    telemetry = Telemetry()
    await everything(telemetry)
    found = {
        name: (points[0].unit, {attribute for point in points for attribute in point.attributes})
        for name, points in telemetry.metrics().items()
    }
    documented = {metric.strip("`"): (unit, names(attributes)) for metric, unit, attributes in rows("metric")}
    assert documented == found


# --- Prometheus and Grafana -----------------------------------------------------------------------------------------


@attrs.frozen
class Exposed:
    """What an exporter for Prometheus makes of the metrics.

    Attributes:
        labels: of each series, by its name.
        families: the names of the metrics, without the suffixes of a histogram's series.
    """

    labels: dict[str, set[str]]
    families: set[str]


@pytest.fixture(scope="module")
def exposed() -> Iterator[Exposed]:
    """Return what OpenTelemetry's own exporter exposes of `everything`."""
    reader = PrometheusMetricReader()
    telemetry = Telemetry()
    telemetry.meters = MeterProvider([reader], shutdown_on_exit=False)
    virtual(everything)(telemetry)
    labels: dict[str, set[str]] = {}
    families = set[str]()
    for family in REGISTRY.collect():
        samples = [sample for sample in family.samples if sample.labels.get("otel_scope_name") == "soapbatch"]
        for sample in samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
            families.add(re.sub(r"_(?:bucket|sum|count)$", "", sample.name))
    yield Exposed(labels, families)
    telemetry.meters.shutdown()


def test_the_names_that_prometheus_has(exposed: Exposed) -> None:
    """The page has them as an exporter makes them."""
    (listed,) = re.findall(r"^Exporters for Prometheus call them (.*?)\. ", PAGE, re.MULTILINE | re.DOTALL)
    assert names(listed) == exposed.families


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query of the dashboard with the title of its panel, or the name of its variable."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            matched = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert matched
            yield variable["name"], f"sum by ({matched[2]}) ({matched[1]})"


QUERIES = list(queries())


@pytest.mark.parametrize(("panel", "query"), QUERIES, ids=[f"{i}-{panel}" for i, (panel, _) in enumerate(QUERIES)])
def test_a_query_of_the_dashboard(panel: str, query: str, exposed: Exposed) -> None:
    """It is PromQL; each series exists, and each label is one of the series that are looked at."""
    assert panel
    text = query.replace("$__rate_interval", "5m").replace("$__range", "6h").replace("$server", ".*")
    assert "$" not in text
    series = set[str]()
    labels = set[str]()

    def visit(expression: promql_parser.Expr) -> bool:
        if isinstance(expression, promql_parser.MatrixSelector):
            expression = expression.vector_selector
        if isinstance(expression, promql_parser.VectorSelector):
            assert expression.name
            series.add(expression.name)
            labels.update(matcher.name for matcher in expression.matchers.matchers)
        if isinstance(expression, promql_parser.AggregateExpr) and expression.modifier is not None:
            labels.update(expression.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(text), pre_visit=visit)
    assert series
    for name in series:
        assert name in exposed.labels, name
        assert labels <= exposed.labels[name]


def test_the_legends_name_labels_of_their_queries() -> None:
    """What a legend shows is what the query groups by."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            grouped = {label for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(", ")}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == grouped - {"le"}, panel["title"]


def test_the_dashboard_shows_every_metric(exposed: Exposed) -> None:
    """No metric is forgotten, and no panel lies over another one."""
    text = json.dumps(DASHBOARD)
    assert [family for family in exposed.families if family not in text] == []
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


# --- Hooks ----------------------------------------------------------------------------------------------------------


def test_the_table_of_hooks() -> None:
    """It has every hook, and every kind of event of jobs and tickets."""
    table = {name: what for cell, what in rows("hook") for name in names(cell)}
    assert table.keys() == {field.name for field in attrs.fields(Hooks)}
    kinds = {JobEvent: get_args(JobEventKind), TicketEvent: get_args(TicketEvent.__annotations__["kind"])}
    for event, listed in ((JobEvent, table["on_job"]), (TicketEvent, table["on_ticket"])):
        assert listed == f"`{event.__name__}`: {', '.join(kinds[event])}"


async def test_its_programs_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The client with OpenTelemetry, the server that goes on with a trace, the dashboard, and the slow calls."""
    telemetry = Telemetry()
    server = NetServer()
    made = await run_program(block_with("hooks=OpenTelemetry()"), {"url": "https://crm.example", "credentials": None})
    assert isinstance(made["client"], Client)
    await made["client"].aclose()
    program, at = block_with("netserver_spans(provider)").splitlines(), -1
    assert program[at].startswith('server.calls[0].headers["traceparent"]')
    await run_program("\n".join(program[:at]), {"server": server, "provider": telemetry.traces})
    async with in_process(server, hooks=telemetry.hooks()) as client:
        await client.batch.get_batch_task_info(1)
    await run_program(f"shown = {program[at]}", {"server": server})
    assert len(telemetry.spans("Batch/GetBatchTaskInfo")) == 2
    await run_program(block_with("dashboard.json"), {})
    assert json.loads(capsys.readouterr().out) == DASHBOARD


def test_slow_calls(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of a hook prints calls that took longer than a second."""

    @virtual
    async def run() -> None:
        made = await run_program(block_with("class Slow"), {})
        server = busy_server()
        async with in_process(server, hooks=made["hooks"]) as client:
            job = await client.jobs.start("ExportArchiveBatchPlugin")
            await job.wait()
            await job.output()

    run()
    assert capsys.readouterr().out == "GetOutputFromBatch ok 2\n"
