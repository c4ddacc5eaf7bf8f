"""What is published: the version, the URLs, and wheel and sdist, built as a release builds them."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import attrs
import pytest

import soapbatch

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://code.example/acme/soapbatch"
MEGABYTE = 1 << 20


def run(*command: str, **environment: str) -> str:
    """Run a command in the project's folder, and return what it prints."""
    done = subprocess.run(  # noqa: S603 - commands of this file
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@attrs.frozen
class Built:
    """A wheel and a source distribution."""

    wheel: Path
    sdist: Path

    def shipped(self) -> Mapping[str, int]:
        """Return the files of the wheel with their sizes in bytes, as they are installed."""
        with zipfile.ZipFile(self.wheel) as wheel:
            return {entry.filename: entry.file_size for entry in wheel.infolist()}

    def about(self) -> list[str]:
        """Return the lines of the wheel's metadata."""
        with zipfile.ZipFile(self.wheel) as wheel:
            [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            return wheel.read(name).decode().splitlines()


def build(folder: Path, **environment: str) -> Built:
    """Build both into a folder."""
    run("-m", "hatchling", "build", "--directory", str(folder), **environment)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The distributions of a release."""
    return build(tmp_path_factory.mktemp("dist"), SOAPBATCH_REPOSITORY=REPOSITORY)


def test_the_version_is_that_of_the_package() -> None:
    """`__version__`, the metadata and the command say the same."""
    assert soapbatch.__version__ == metadata.version("soapbatch")
    assert run("-m", "soapbatch", "--version") == f"soapbatch {soapbatch.__version__}\n"


@pytest.mark.slow
def test_others_find_nothing_wrong(built: Built) -> None:
    """Twine and check-wheel-contents accept what a package index would get."""
    assert run("-m", "twine", "check", "--strict", str(built.wheel), str(built.sdist)).count("PASSED") == 2
    assert run("-m", "check_wheel_contents", str(built.wheel)).strip().endswith(": OK")


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    """Every file of the package, among them the marker for type checkers, the stubs and the guide; no tests."""
    files = built.shipped().keys()
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "soapbatch").rglob("*") if path.is_file()}
    assert {name for name in files if ".dist-info/" not in name} == {n for n in ours if "__pycache__" not in n}
    assert {"soapbatch/py.typed", "soapbatch/__init__.pyi", "soapbatch/testing/__init__.pyi"} <= files
    assert {f"soapbatch/guide/{page.name}" for page in (ROOT / "soapbatch/guide").glob("*.py")} <= files


@pytest.mark.slow
def test_the_sdist_holds_what_a_wheel_is_built_from(built: Built) -> None:
    """The package, its build, and the texts for a reader: no tests, no fixtures, nothing that lay about."""
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names >= {name for name in built.shipped() if ".dist-info/" not in name}
    rest = {name for name in names if not name.startswith("soapbatch/")}
    texts = {"CHANGELOG.md", "LICENSE", "README.md"}
    assert rest == texts | {".gitignore", "PKG-INFO", ".github/hatch_build.py", "pyproject.toml"}


@pytest.mark.slow
def test_a_release_says_where_it_comes_from(built: Built, tmp_path: Path) -> None:
    """URLs and links lead to the repository that releases; without one there are none, rather than invented ones."""
    about = built.about()
    urls = dict(re.findall(r"^Project-URL: (\w+), (.+)$", "\n".join(about), re.MULTILINE))
    files = f"{REPOSITORY}/blob/v{soapbatch.__version__}"
    assert urls == {
        "Repository": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{files}/CHANGELOG.md",
        "Contributing": f"{files}/.github/CONTRIBUTING.md",
    }
    links = re.findall(r"\]\((.*?)\)", "\n".join(about))
    assert links
    assert [link for link in links if "://" not in link] == []
    for link in links:
        if link.startswith(files):
            assert (ROOT / link.removeprefix(f"{files}/")).exists(), link

    plain = build(tmp_path, SOAPBATCH_REPOSITORY="").about()
    assert [line for line in plain if line.startswith("Project-URL")] == []
    assert (ROOT / "README.md").read_text("utf-8") in "\n".join([*plain, ""])


@pytest.mark.slow
def test_what_the_package_costs(built: Built, record_property: Callable[[str, object], None]) -> None:
    """Its size is bounded. The time of an import is shown, and not judged: the machine may be busy."""
    size = sum(built.shipped().values())
    took = float(run("-c", "import time; t = time.perf_counter(); import soapbatch; print(time.perf_counter() - t)"))
    kilobytes = f"wheel {built.wheel.stat().st_size / 1000:.0f} kB, installed {size / 1000:.0f} kB"
    record_property("shown", f"soapbatch {soapbatch.__version__}: {kilobytes}, import {took * 1000:.1f} ms")
    assert size < 2 * MEGABYTE
