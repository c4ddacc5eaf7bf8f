"""The benchmarks run, from the command line to the picture; what they measure is not judged here."""

import json
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.bench.__main__ import main
from tests.bench.calls import bare
from tests.bench.case import QUICK, Case, Figure, Row, Target, timed
from tests.bench.inputs import reply_with_one, request_for_one
from tests.bench.report import as_markdown
from tests.bench.runner import TOPICS, cases, run
from tests.bench.summary import HEADING, README, RESULTS, section


@pytest.mark.slow
@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_runs(topic: str) -> None:
    """Each case of a topic gives a row for each of its units, with samples of every contender."""
    for case in cases(QUICK, [topic]):
        shares: list[float] = []
        rows = run(case, QUICK, shares.append)
        assert [row.unit for row in rows] == list(case.units)
        assert sum(shares) == pytest.approx(1)
        for row in rows:
            assert all(figure.samples for figure in row.figures.values())
            assert all(target.of in row.figures for target in row.targets)


@pytest.mark.slow
def test_results_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run prints its tables, and writes them as Markdown, every sample as JSON, and a picture."""
    pytest.importorskip("matplotlib", reason="the picture needs the extra bench")
    main(["--quick", "--out", str(tmp_path), "build"])
    assert "DeleteBatchTasks" in capsys.readouterr().out
    assert "| UpdateBatchTask | 1 task | us |" in (tmp_path / "results.md").read_text(encoding="utf-8")
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["command"] == f"python -m tests.bench --quick --out {tmp_path} build"
    assert results.keys() >= {"date", "machine", "python", "libraries", "rows"}
    assert len(results["rows"][0]["figures"]["soapbatch"]["samples"]) == QUICK.rounds
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_the_readme_shows_what_was_measured() -> None:
    """The README's section on speed is the one that is made from the results beside the benchmarks."""
    readme = README.read_text(encoding="utf-8")
    made = section(json.loads(RESULTS.read_text(encoding="utf-8")))
    assert made in readme, "run: python -m tests.bench.summary"
    assert readme.count(HEADING) == 1


def test_a_picture_of_other_topics(tmp_path: Path) -> None:
    """Without rows of building and parsing, the picture is empty."""
    picture = pytest.importorskip(
        "tests.bench.picture", reason="the picture needs the extra bench", exc_type=ImportError
    )
    row = Row(topic="hostile", name="n", size=1, of="x", unit="ms CPU", figures=FIGURES)
    picture.draw({"machine": "m", "python": "p", "date": "d"}, [row], tmp_path / "results.png")
    assert (tmp_path / "results.png").stat().st_size > 0


def test_a_contender_without_results_has_no_column() -> None:
    """The README's table of calls a second shows the contenders that the results have."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert "zeep's AsyncClient" in section(results)
    for row in results["rows"]:
        if row["unit"] == "calls/s":
            del row["figures"]["zeep"]
    assert "zeep's AsyncClient" not in section(results)


def test_the_readme_names_the_hostile_responses_that_cost_most() -> None:
    """One for each unit, once the results have them."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    results["rows"] = [row for row in results["rows"] if row["topic"] != "hostile"]
    assert "hostile" not in section(results)
    for name, samples in (("a", (5, 0.25)), ("b", (7, 0.125))):
        for unit, sample in zip(("ms CPU", "MiB"), samples, strict=True):
            figures = {"collected": {"samples": [sample]}, "streamed": {"samples": [0]}}
            results["rows"].append({"topic": "hostile", "name": name, "size": 1, "unit": unit, "figures": figures})
    assert "- Refusing a hostile response costs at most 7 ms CPU (b), 0.25 MiB (a);" in section(results)


async def test_the_bare_transport_reads_the_whole_answer() -> None:
    """The prebuilt request goes through httpx's port as it is, and every byte of its answer is counted."""
    seen: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        seen.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(reply_with_one()))

    request = request_for_one(1)
    assert await bare(httpx.MockTransport(answer), httpx.URL("http://localhost:8000/Batch.svc"), request) == len(
        reply_with_one()
    )
    (sent,) = seen
    assert (sent.method, str(sent.url), sent.content) == ("POST", "http://localhost:8000/Batch.svc", request.body)
    assert dict(sent.headers) == {
        "host": "localhost:8000",
        "content-length": str(len(request.body)),
        **{name.lower(): value for name, value in request.headers.items()},
    }


def test_contenders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round samples everybody, in different orders; one that is sampled once is left out after that."""
    taken: list[str] = []
    collected: list[None] = []
    # A real collection of all that the test session holds takes 0.1 s.
    monkeypatch.setattr("tests.bench.runner.gc.collect", lambda: collected.append(None))

    def contender(name: str) -> tuple[float]:
        taken.append(name)
        return (float(len(taken)),)

    case = Case(
        topic="t",
        name="n",
        size=1,
        of="things",
        contenders=lambda _: {name: partial(contender, name) for name in "abc"},
        once=frozenset("c"),
        rounds=9,
    )
    (row,) = run(case, QUICK, lambda _: None)
    assert sorted(taken[:3]) == ["a", "b", "c"]
    assert {"".join(pair) for pair in zip(taken[3::2], taken[4::2], strict=True)} == {"ab", "ba"}
    assert {name: len(figure.samples) for name, figure in row.figures.items()} == {"a": 9, "b": 9, "c": 1}
    assert len(collected) == len(taken)


FIGURES = {"a": Figure((1.0, 2.0, 9.0)), "b": Figure((4.0,))}


@pytest.mark.parametrize(
    ("target", "text", "value", "is_met"),
    [
        pytest.param(Target(of="b", to="a", at_least=2), "b / a >= 2", 2.0, True, id="ratio of medians"),
        pytest.param(Target(of="b", to="a", at_least=2.5), "b / a >= 2.5", 2.0, False, id="too low"),
        pytest.param(Target(of="a", at_most=2, unit="ms"), "a <= 2 ms", 2.0, True, id="median"),
        pytest.param(Target(of="a", at_most=1, unit="ms"), "a <= 1 ms", 2.0, False, id="too high"),
    ],
)
def test_targets(target: Target, text: str, value: float, is_met: bool) -> None:  # noqa: FBT001 - a column
    """A target compares a median, or the ratio of two, with its bound, and says so."""
    assert (str(target), target.value(FIGURES), target.is_met(FIGURES)) == (text, value, is_met)


def test_a_missed_target_stands_out() -> None:
    """The table of targets says NO where one is missed."""
    row = Row(topic="t", name="n", size=1, of="x", unit="us", figures=FIGURES, targets=(Target(of="a", at_most=1),))
    about = {"command": "c", "date": "d", "machine": "m", "python": "p", "libraries": {}}
    assert "| t | n | 1 x | a <= 1 us | 2 | NO |" in as_markdown(about, [row])


def test_time_is_counted_for_each_thing() -> None:
    """A sample does its work once to warm up and at least once more, and divides by the things that it does."""
    calls: list[None] = []
    sample = timed(lambda: calls.append(None), seconds=0.0, per=10)
    (figure,) = sample()
    assert len(calls) == 2
    assert figure >= 0
