"""Run the suite with every Python of the classifiers that this machine has, and with the lowest dependencies.

    python -m tests.pythons [--only 3.12] [--only lowest] [arguments of pytest]

Each run has an environment of its own in `.pythons`, with the extra dev. The last one, "lowest", has the oldest Python
found, and of each library that pyproject.toml names the lowest release that it allows. A Python that is not found is
said, and is no failure.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
ENVIRONMENTS: Final = ROOT / ".pythons"
LOWEST: Final = "lowest"
_FLOOR: Final = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)")
_PLACES: Final = (
    ("PYENV_ROOT", "~/.pyenv", "versions/{}.*/bin/python"),
    ("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python", "cpython-{}.*/bin/python"),
)
"""Where Pythons lie that are not on PATH: a variable, the folder without it, and the interpreters in it."""


@cache
def project() -> Mapping[str, Any]:
    """Return the table `project` of pyproject.toml."""
    found: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def versions() -> list[str]:
    """Return the versions of Python that the classifiers name, such as 3.11."""
    names = (row.rpartition(" :: ")[2] for row in project()["classifiers"] if " :: Python :: 3." in row)
    return list(names)


def floors() -> dict[str, str]:
    """Return the lowest release of each library that pyproject.toml allows; where extras differ, the highest of them.

    Raises:
        ValueError: a requirement has no lowest release.
    """
    found: dict[str, str] = {}
    extras = project()["optional-dependencies"].values()
    for requirement in [*project()["dependencies"], *(row for rows in extras for row in rows)]:
        if requirement.startswith("soapbatch["):
            continue
        if not (match := _FLOOR.fullmatch(requirement)):
            raise ValueError(f"{requirement!r} has no lowest release: write name>=release")
        name, release = match.groups()
        found[name] = max(found.get(name, "0"), release, key=_numbers)
    return found


def find(version: str) -> str | None:
    """Return the path of a Python that can make environments, of PATH or else the newest of pyenv or uv."""
    return next((path for path in _candidates(version) if _works(path, version)), None)


def _candidates(version: str) -> Iterator[str]:
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    for variable, usual, pattern in _PLACES:
        folder = Path(os.environ.get(variable) or usual).expanduser()
        yield from map(str, sorted(folder.glob(pattern.format(version)), key=_release_of, reverse=True))


def _release_of(path: Path) -> list[int]:
    return _numbers(path.parents[1].name)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _works(path: str, version: str) -> bool:
    script = "import ensurepip, ssl, sys, venv; print('{}.{}'.format(*sys.version_info))"
    done = subprocess.run([path, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603 - found here
    return done.stdout.strip() == version


def run(name: str, python: str, arguments: Sequence[str]) -> bool:
    """Make or refresh an environment, run the suite in it, and tell whether it passed."""
    folder = ENVIRONMENTS / name
    inside = str(folder / "bin" / "python")
    constraints: list[str] = []
    if name == LOWEST:
        ENVIRONMENTS.mkdir(exist_ok=True)
        listed = ENVIRONMENTS / "lowest.txt"
        listed.write_text("".join(f"{library}=={release}\n" for library, release in floors().items()), "utf-8")
        constraints = ["--constraint", str(listed)]
    install = [
        inside,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "-qq",
        *constraints,
        "--editable",
        ".[dev]",
    ]
    test = [inside, "-m", "pytest", "-p", "no:cacheprovider", "-n", "auto", "--dist", "worksteal", *arguments]
    for command in ([python, "-m", "venv", str(folder)], install, test):
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - commands of this function
            return False
    return True


def main(arguments: Sequence[str]) -> int:
    """Run what there is of what is wanted, say what came of it, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", action="append", choices=[*versions(), LOWEST], help="this run; may be repeated")
    options, rest = parser.parse_known_args(arguments)
    found = {version: path for version in versions() if (path := find(version))}
    for version in versions():
        print(f"Python {version}: {found.get(version, 'not found')}", flush=True)
    runs = found | ({LOWEST: next(iter(found.values()))} if found else {})
    outcomes: dict[str, bool] = {}
    for name in options.only or runs:
        if name in runs:
            print(f"== {name}: {runs[name]}", flush=True)
            outcomes[name] = run(name, runs[name], rest)
    for name in options.only or [*versions(), LOWEST]:
        print(f"{name}: {_WORDS[outcomes.get(name)]}")
    return 0 if outcomes and all(outcomes.values()) else 1


_WORDS: Final = {True: "passed", False: "FAILED", None: "not found"}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
