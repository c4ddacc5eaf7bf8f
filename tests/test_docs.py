"""Every reference leads somewhere: links between files, names of modules, commands, pages, and the HTML reference."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

import soapbatch
from soapbatch import guide
from soapbatch.cli.pages import summaries
from tests import docs

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
    *sorted((ROOT / "tests").rglob("*.md")),
    *sorted((ROOT / "fixtures").rglob("*.md")),
]
CHANGELOG = ROOT / "CHANGELOG.md"  # names what is gone
GUIDE = sorted(Path(guide.__file__).parent.glob("*.py"))
SOURCES = [path for path in sorted(Path(soapbatch.__file__).parent.rglob("*.py")) if path not in GUIDE]
TEXTS = {"soapbatch.wire"} | {
    name for path in SOURCES for name in re.findall(r'"(soapbatch(?:\.\w+)+)"', path.read_text("utf-8"))
}
"""Dotted names that are no modules: loggers, and what integrations call attributes."""
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def named(path: Path) -> str:
    """Return the name of a file for the list of tests."""
    return str(path.relative_to(ROOT))


def slug(heading: str) -> str:
    """Return the anchor that a heading of Markdown gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(text: str) -> list[str]:
    """Return the targets of the links and the pictures of a page, without those on the web."""
    return [target for target in re.findall(r"\]\(([^) ]+)", text) if "://" not in target]


@pytest.mark.parametrize("page", [*PAGES, *GUIDE], ids=named)
def test_links_lead_to_files(page: Path) -> None:
    """Each link to a file of this project finds it, and the heading that it names."""
    for target in links(page.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


def resolve(name: str) -> object:
    """Return what a dotted name means.

    Raises:
        AttributeError: there is no such thing.
    """
    found: object = soapbatch
    done = "soapbatch"
    for part in name.split(".")[1:]:
        done = f"{done}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = import_module(done)
            except ImportError:
                raise AttributeError(done) from None
    return found


@pytest.mark.parametrize(
    "page", [*(page for page in PAGES if page != CHANGELOG), *GUIDE, Path(soapbatch.__file__)], ids=named
)
def test_names_exist(page: Path) -> None:
    """Dotted names, pages of `pydoc` and `soapbatch help`, targets of `make`, and paths are there."""
    text = page.read_text("utf-8")
    for name in re.findall(r"[`(](soapbatch(?:\.\w+)+)\b(?![./\[\]-])", text):
        assert name in TEXTS or resolve(name) is not None
    for name in re.findall(r"python3? -m pydoc ([\w.]+\w)", text):
        assert import_module(name).__doc__
    for name in re.findall(r"soapbatch help (\w+)", text):
        assert name in summaries() or name == "PAGE"
    for name in re.findall(r"`make ([a-z-]+)", text):
        assert name in TARGETS
    for path in re.findall(r"`((?:tests|fixtures|\.github)/[\w./-]+)`", text):
        assert (ROOT / path).exists() or "NAME" in path, path


def test_a_name_that_does_not_exist() -> None:
    """The test above can fail."""
    assert resolve("soapbatch.jobs.Jobs.start")
    with pytest.raises(AttributeError, match=r"soapbatch\.jobs\.Jobs\.begin"):
        resolve("soapbatch.jobs.Jobs.begin")


# --- The HTML reference -----------------------------------------------------------------------------------------------


def docstrings(path: Path) -> Iterator[str]:
    """Yield the docstrings of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", sorted(Path(soapbatch.__file__).parent.rglob("*.py")), ids=named)
def test_docstrings_are_what_pdoc_reads(path: Path) -> None:
    """An empty line stands before a block of code: Markdown takes it for a part of the paragraph else."""
    for text in docstrings(path):
        for before in re.findall(r"^(\S.*):\n(?= +\S)", text, re.MULTILINE):
            assert before in docs.SECTIONS, f"an empty line is missing behind {before!r}"


def test_dead_links_are_words() -> None:
    """A link to an id that the page lacks would do nothing."""
    page = '<p id="A"><a href="#A">here</a> <a href="#B">nowhere</a> <a href="x.html">there</a></p>'
    assert docs.without_dead_links(page) == page.replace('<a href="#B">nowhere</a>', "nowhere")


def test_only_sections_become_sections() -> None:
    """The words before a block of code may be those of a heading, but for the colon."""
    text = "It writes:\n\n    {}\n\nRaises:\n    KeyError: no\n"
    assert docs.without_false_sections(text) == text.replace("writes:", "writes&#58;")


def test_the_reference_has_every_public_name() -> None:
    """The root with its names, which are imported on demand, each wing that users enter, and each page of the guide."""
    found = docs.documented()
    assert {f"soapbatch.guide.{name}" for name in summaries()} < found.keys()
    assert {"soapbatch.errors", "soapbatch.testing.plugin", "soapbatch.integrations.temporal"} < found.keys()
    assert not {"soapbatch.cli", "soapbatch.jobs.poller", "soapbatch.system"} & found.keys()
    assert {"Client", "JobFailed", "jobs", "guide"} < {*found["soapbatch"]}
    assert {"Jobs", "StartSpec"} < {*found["soapbatch.jobs"]}
    assert "NetServer" in found["soapbatch.testing"]


@pytest.mark.parametrize("package", ["soapbatch", "soapbatch.testing"])
def test_who_asks_for_all_names_finds_them(package: str) -> None:
    """Tools read `__all__`, and then the names of the module; before, they have not been imported."""
    script = f"""
import {package} as package
before = {{*vars(package)}}
names = {{*package.__all__}}
assert not names & before
assert names <= {{*vars(package)}}
"""
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 - this interpreter


class Page(HTMLParser):
    """The ids and the links of a page.

    Attributes:
        ids: what links can lead to.
        targets: of the links to this page and to others, without the web.
        pictures: sources of its pictures.
    """

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.ids, self.targets, self.pictures = set[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the id, the link and the picture of a tag."""
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a" and "://" not in values.get("href", "://"):
            self.targets.append(unquote(values["href"]))
        if tag == "img":
            self.pictures.append(values["src"])


@pytest.mark.slow
def test_the_html_reference(tmp_path: Path) -> None:
    """Pdoc builds it without a warning, each link in it leads somewhere, and it holds the pictures."""
    pytest.importorskip("pdoc", reason="comes with the extra docs")
    command = [sys.executable, "-m", "tests.docs", str(tmp_path)]  # it changes the packages of its process
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr
    pages = {path: Page(path.read_text("utf-8")) for path in tmp_path.rglob("*.html")}
    assert len(pages) == len(docs.documented()) + 1
    for path, page in pages.items():
        for target in page.targets:
            file, _, anchor = target.partition("#")
            found = (path.parent / file).resolve() if file else path
            assert found in pages, (path, target)
            assert not anchor or anchor in pages[found].ids, (path, target)
        assert all(picture.startswith("data:") for picture in page.pictures), path
    for name in summaries():
        drawn = re.findall(r"!\[", import_module(f"soapbatch.guide.{name}").__doc__ or "")
        page = pages[tmp_path / "soapbatch" / "guide" / f"{name}.html"]
        assert sum("svg+xml;base64," in picture for picture in page.pictures) == len(drawn), name
    assert {"Client", "Client.jobs", "BatchTaskState.ACQUIRED", "JobFailed"} < pages[tmp_path / "soapbatch.html"].ids
