"""The shape of the package: imports point down, modules stay small and documented, importing does nothing else."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path

import attrs
import pytest

import soapbatch
from soapbatch import carriers, errors, principals

PACKAGE = Path(__file__).parents[1] / "soapbatch"
ROOF = "soapbatch"

# The stair, from the ground up. An import points to a lower row, never to its own or a higher one.
STAIR = [
    ["services", "secret", "limits", "endings", "replacement", "dialing"],
    ["xsd"],
    ["schema", "references"],
    ["late"],
    ["carriers"],
    ["principals", "errors"],
    ["operations"],
    ["template", "feed", "reader", "rules"],
    ["quick"],
    ["builder", "alike", "expected"],
    ["parser", "request_parser"],
    ["judgement", "failures", "observe", "decoding"],
    ["transport"],
    ["wire"],
    ["connections", "exchange"],
    ["lanes", "credentials"],
    ["stores"],
    ["tickets", "aiohttp", "lifetime"],
    ["calls"],
    ["agents"],
    ["jobs.polling", "jobs.progress", "jobs.outcomes"],
    ["jobs.reading"],
    ["jobs.watching", "jobs.starting", "jobs.many"],
    ["jobs.job"],
    ["jobs"],
    ["client"],
    ["testing.answers", "testing.clock", "testing.definitions", "testing.wcf", "testing.wsdl"],
    ["testing.failures"],
    ["testing.interceptors", "testing.reception", "testing.tasks", "testing.tickets"],
    ["testing.handlers"],
    ["testing.server"],
    ["testing.serving"],
    ["testing"],
    ["cli"],
    ["__main__"],
    [ROOF],
]
FLOOR = {module: floor for floor, modules in enumerate(STAIR) for module in modules}

# The names that DESIGN fixes, beside every carrier, enum and error.
FIXED_NAMES = {
    "AccessToken",
    "AuthenticationFailed",
    "BatchTaskInfo",
    "BatchTaskState",
    "Binding",
    "Client",
    "Fault",
    "Generic",
    "Implicit",
    "Limits",
    "OperationFailed",
    "ProtocolError",
    "ServiceError",
    "ServiceVersion",
    "SoapBatchError",
    "Ticket",
    "TransportError",
    "UsageError",
    "UsernamePassword",
    "build_request",
    "parse_response",
}


def module_name(path: Path) -> str:
    """Return the dotted name of a file below the package: `testing.server`, or the package's own for the roof."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or ROOF


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
every_module = pytest.mark.parametrize("module", FILES)


@cache
def tree(module: str) -> ast.Module:
    """Return the syntax tree of a module of the package."""
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Yield each module of soapbatch that `module` imports: anywhere in it, for type checkers only or not."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "soapbatch":
                yield next((m for m in (rest, rest.rpartition(".")[0]) if m in FILES), ROOF)


def test_the_stair_lists_every_module_once() -> None:
    """Each module has its place on the stair, and each place its module."""
    assert FILES.keys() - FLOOR.keys() == set(), "modules without a place"
    assert FLOOR.keys() - FILES.keys() == set(), "places without a module"
    assert len(FLOOR) == sum(map(len, STAIR)), "a module with two places"


@every_module
def test_imports_point_down_the_stair(module: str) -> None:
    """A module imports only what stands on a lower floor."""
    not_lower = {imported for imported in imports(module) if FLOOR[imported] >= FLOOR[module]}
    assert not not_lower, f"{module} stands no higher than what it imports: {sorted(not_lower)}"


@every_module
def test_no_module_is_long(module: str) -> None:
    """A module can be read in one go: at most 400 lines."""
    length = len(FILES[module].read_text(encoding="utf-8").splitlines())
    assert length <= 400


def public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public classes and functions of a module or a class, and those inside its public classes."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


@every_module
def test_everything_public_is_documented(module: str) -> None:
    """Each module, and each public class, method and function in it, has a docstring."""
    assert ast.get_docstring(tree(module))
    assert [node.name for node in public(tree(module)) if not ast.get_docstring(node)] == []


@every_module
def test_logging_is_left_to_the_application(module: str) -> None:
    """No module configures logging, or writes to the root logger by its shortcuts."""
    shortcuts = {"basicConfig", "critical", "debug", "error", "exception", "info", "log", "warning"}
    used = {
        f"{node.lineno}: logging.{node.attr}"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "logging"
        if node.attr in shortcuts
    }
    assert not used


WATCHED_IMPORT = """
import importlib, json, logging, os, sys, threading
import attrs, httpx, lxml.etree, stamina  # what these do while they are imported is theirs

seen = []

def watch(event, arguments):
    if event == "open":
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC):
            seen.append(f"{event} {arguments[0]}")
    elif event.startswith(("socket.", "subprocess.", "_thread.", "signal.", "os.")) and event not in LOOKING:
        seen.append(event)

LOOKING = {"os.listdir", "os.scandir", "os.walk"}
threads = threading.active_count()
sys.addaudithook(watch)
for module in sys.argv[1:]:
    importlib.import_module(module)
if threading.active_count() != threads:
    seen.append("a thread")
for name in ("", "soapbatch", "soapbatch.wire"):
    logger = logging.getLogger(name)
    if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        seen.append(f"a handler on logger {name!r}")
    if name and logger.level != logging.NOTSET:
        seen.append(f"a level on logger {name!r}")
print(json.dumps(seen))
"""


def test_importing_does_nothing_else() -> None:
    """Importing every module opens no socket, starts no process or thread, writes no file and touches no logger."""
    modules = [f"soapbatch.{module}" if module != ROOF else ROOF for module in FILES]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(  # noqa: S603 - this interpreter and a constant script
        [sys.executable, "-B", "-W", "error", "-c", WATCHED_IMPORT, *modules],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_the_root_offers_what_type_checkers_see() -> None:
    """The names that type checkers read in the root are those that Python imports on demand, from the same modules."""
    blocks = [node for node in tree(ROOF).body if isinstance(node, ast.If)]
    seen = {
        (str(node.module).removeprefix("soapbatch."), alias.asname)
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(home, name) for home, names in soapbatch._HOMES.items() for name in names}


def test_all_is_exactly_the_public_names() -> None:
    """`__all__` names each public thing of the root once, and each can be had; anything else is an AttributeError."""
    assert sorted({name for names in soapbatch._HOMES.values() for name in names}) == soapbatch.__all__
    assert all(getattr(soapbatch, name) is not None for name in soapbatch.__all__)
    assert dir(soapbatch) == soapbatch.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        soapbatch.nonsense  # noqa: B018 - the access is the test


def test_all_has_what_design_fixes() -> None:
    """The fixed names, every carrier, every enum and every error can be had from the package root."""
    values = {
        name
        for module in (carriers, principals)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
        if attrs.has(value) or issubclass(value, Enum)
    }
    assert values >= {"BatchTaskInfo", "BatchTaskState", "ReplyHeader", "SoPrincipalCarrier", "UserType"}
    expected = FIXED_NAMES | values | {error.__name__ for error in error_classes()}
    assert expected - set(soapbatch.__all__) == set()


def error_classes() -> list[type[errors.SoapBatchError]]:
    """Return the classes of the error tree, in the order of their definition."""
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [value for value in found if issubclass(value, errors.SoapBatchError)]


def test_the_drawing_of_the_error_tree_is_true() -> None:
    """The tree in errors.py's docstring has each class under its parent, in order, and names every other base."""
    drawn: list[tuple[str, str | None, list[str]]] = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:│   |    )*(?:├── |└── )?)([A-Z]\w+)(?: {2,}(.*))?$", line):
            branches, name, remark = match.groups(default="")
            depth = len(branches) // 4
            path[depth:] = [name]
            drawn.append((name, path[depth - 1] if depth else None, re.findall(r"\(also an? (\w+)\)", remark)))
    classes = [
        (
            error.__name__,
            error.__bases__[0].__name__ if error is not errors.SoapBatchError else None,
            [base.__name__ for base in error.__bases__[1:]],
        )
        for error in error_classes()
    ]
    assert drawn == classes


def test_the_package_says_that_it_is_typed() -> None:
    """The marker that makes type checkers read the package's annotations is shipped."""
    assert (PACKAGE / "py.typed").is_file()
