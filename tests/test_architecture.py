"""The shape of the package: imports point down, modules stay small and documented, importing does nothing else."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import soapbatch
from soapbatch import errors

PACKAGE = Path(__file__).parents[1] / "soapbatch"

# The wings from the ground up, each with the reason for its place. An import points to a lower floor, or stays in the
# wing; two wings on one floor do not know each other.
WINGS: list[dict[str, str]] = [
    {"_lazy": "finds the names of a package when they are asked for", "guide": "is text"},
    {"model": "the values that everything is about", "system": "what asyncio and the OS make hard"},
    {"errors": "carry values as evidence"},
    {"operations": "rows of the contract: made of types, and raise NotInVersion"},
    {"soap": "turns rows and values into bytes, and back"},
    {"auth": "asks for tickets through a callable, by operation", "transport": "carries bytes, and knows only errors"},
    {"calls": "put envelope, ticket and transport together"},
    {"jobs": "are built on the typed operations alone"},
    {"client": "puts everything together"},
    {"tenants": "holds many clients"},
    {"online": "finds tenants and signs in to SuperOffice Online, for clients"},
    {"integrations": "connect clients to other systems, one module a system", "guide": "explains in prose"},
    {"testing": "answers with soap's builder, for users' tests"},
    {"cli": "is a user of everything"},
    {"__main__": "is the command line by another name"},
    {"": "the root lists names and imports them on demand"},
]
FLOOR = {wing: floor for floor, wings in enumerate(WINGS) for wing in wings}

# The only imports that point up, with the reason. They stand inside a function: importing the lower wing does not
# import the upper one.
UPWARD = {("client", "online"): "Client.online: a script writes it, and what makes the client stands above clients"}

# Who alone may import what: wings, and modules of the integrations. `client` and `online` need httpx for a type,
# `testing` for transports that record and replay.
FOREIGN = {
    "httpx": ("transport", "client", "online", "testing"),
    "h11": ("transport",),
    "lxml": ("soap", "testing"),
    "opentelemetry": ("integrations.opentelemetry",),
    "pytest": ("testing",),
    "rich": ("cli",),
    "temporalio": ("integrations.temporal",),
    "uvicorn": ("testing",),
    "cryptography": ("online", "testing"),
    "jwt": ("online", "testing"),
}

# The names that DESIGN fixes, beside every error.
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

PUBLIC: list[str] = vars(soapbatch)["__getattr__"]("__all__")
"""What `from soapbatch import *` imports."""

LONG = 500
"""Lines at which one asks whether a module is about two subjects."""
ONE_SUBJECT = {"errors"}
"""Longer modules that are about one: the tree is read as a whole."""


def module_name(path: Path) -> str:
    """Return the dotted name of a file below the package: `testing.server`, or "" for the root."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def wing_of(module: str) -> str:
    """Return the wing that a module belongs to: its first name."""
    return module.partition(".")[0]


@cache
def tree(module: str) -> ast.Module:
    """Return the syntax tree of a module of the package."""
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imported_names(module: str) -> Iterator[str]:
    """Yield the dotted name of everything that `module` imports: anywhere in it, for type checkers only or not."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports(module: str) -> frozenset[str]:
    """Return the modules of soapbatch that `module` imports."""
    found = set[str]()
    for name in imported_names(module):
        package, _, rest = name.partition(".")
        if package == "soapbatch":
            found.add(next((m for m in (rest, rest.rpartition(".")[0]) if m in FILES), ""))
    return frozenset(found)


def test_every_module_belongs_to_a_wing() -> None:
    """Each module has its place, and each place its module."""
    assert {wing_of(module) for module in FILES} == FLOOR.keys()


def test_imports_point_down() -> None:
    """A module imports from its own wing and from lower floors."""
    wrong = [
        f"{module} imports {other or 'the root'}"
        for module in FILES
        for other in imports(module)
        if wing_of(other) != wing_of(module) and FLOOR[wing_of(other)] >= FLOOR[wing_of(module)]
        if (wing_of(module), wing_of(other)) not in UPWARD
    ]
    assert wrong == []


@pytest.mark.parametrize(("lower", "upper"), UPWARD)
def test_an_import_that_points_up_is_made_when_it_is_called(lower: str, upper: str) -> None:
    """No statement of the module itself makes it, and importing the lower wing leaves the upper one alone."""
    top = [node for module in FILES if wing_of(module) == lower for node in tree(module).body]
    names = [node.module or "" for node in top if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.startswith(f"soapbatch.{upper}")] == []
    code = f"import sys, soapbatch.{lower}; sys.exit('soapbatch.{upper}' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0  # noqa: S603 - our own text


def test_a_wing_is_entered_through_its_face() -> None:
    """What one wing imports from another stands in that wing's `__init__`; its other modules are its own business."""
    wrong = [
        f"{module} imports {other}"
        for module in FILES
        for other in imports(module)
        if wing_of(other) != wing_of(module) and "." in other
    ]
    assert wrong == []


def test_there_is_no_circle_inside_a_wing() -> None:
    """The modules of a wing can be put in an order in which each imports only earlier ones; its face comes last."""
    for wing in FLOOR:
        inside = {
            module: {m for m in imports(module) if wing_of(m) == wing} for module in FILES if wing_of(module) == wing
        }
        try:
            TopologicalSorter(inside).prepare()
        except CycleError as error:
            pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("library", FOREIGN)
def test_a_library_is_imported_in_its_place_only(library: str) -> None:
    """Only the wings and modules named in FOREIGN import a library."""
    users = {m for m in FILES for name in imported_names(m) if name.partition(".")[0] == library}
    wrong = [m for m in users if not any(m == place or m.startswith(f"{place}.") for place in FOREIGN[library])]
    assert wrong == []


def test_an_integration_is_left_to_those_who_want_it() -> None:
    """No other module imports one of `integrations`, and an integration imports no other one."""

    def integration_of(module: str) -> list[str]:
        return module.split(".")[:2] if wing_of(module) == "integrations" else []

    wrong = [
        f"{module} imports {other}"
        for module in FILES
        for other in imports(module)
        if integration_of(other) and integration_of(other) != integration_of(module)
    ]
    assert wrong == []


def test_no_module_is_long() -> None:
    """A module is about one subject: one of 500 lines is looked at."""
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in FILES.items()}
    assert {m: length for m, length in lengths.items() if length > LONG and m not in ONE_SUBJECT} == {}


def public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public classes and functions of a module or a class, and those inside its public classes.

    Overloads are left out: they are signatures for type checkers, and the function itself has the docstring.
    """
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            if any(
                isinstance(decorator, ast.Name) and decorator.id == "overload" for decorator in child.decorator_list
            ):
                continue
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


def test_everything_public_is_documented() -> None:
    """Each module, and each public class, method and function in it, has a docstring."""
    assert [module for module in FILES if not ast.get_docstring(tree(module))] == []
    bare = [f"{m}.{node.name}" for m in FILES for node in public(tree(m)) if not ast.get_docstring(node)]
    assert bare == []


def test_logging_is_left_to_the_application() -> None:
    """No module configures logging, or writes to the root logger by its shortcuts."""
    shortcuts = {"basicConfig", "critical", "debug", "error", "exception", "info", "log", "warning"}
    used = [
        f"{module}:{node.lineno}: logging.{node.attr}"
        for module in FILES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "logging"
        if node.attr in shortcuts
    ]
    assert used == []


WATCHED_IMPORT = """
import importlib, json, logging, os, sys, threading
# What these do while they are imported is theirs.
import attrs, h11, httpx, lxml.etree, temporalio.plugin, temporalio.worker
import opentelemetry.metrics, opentelemetry.propagate

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
    modules = [f"soapbatch.{module}".rstrip(".") for module in FILES]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(  # noqa: S603 - the README's own text
        [sys.executable, "-B", "-W", "error", "-c", WATCHED_IMPORT, *modules],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_all_is_exactly_what_the_stub_lists() -> None:
    """`__all__` names each public thing of the root once, and each can be had; anything else is an AttributeError."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    listed = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.name == alias.asname for alias in listed)
    assert sorted(alias.name for alias in listed) == PUBLIC == dir(soapbatch)
    assert all(getattr(soapbatch, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        soapbatch.nonsense  # type: ignore[attr-defined] # noqa: B018 - the access is the test


def test_the_root_has_what_users_type_and_catch() -> None:
    """The names that DESIGN fixes and every error can be had from the package root, which is about 60 names long."""
    expected = FIXED_NAMES | {error.__name__ for error in error_classes()}
    assert expected - {*PUBLIC} == set()
    assert len(PUBLIC) <= 65


def test_help_explains_the_architecture() -> None:
    """`help(soapbatch)` names every wing on its first screen."""
    screen = (soapbatch.__doc__ or "").splitlines()
    assert len(screen) <= 30
    text = "\n".join(screen)
    assert [wing for wing in FLOOR if wing and wing != "__main__" and wing not in text] == []


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


@pytest.mark.parametrize("name", FILES)
def test_no_pattern_has_a_possessive_group(name: str) -> None:
    """Python before 3.11.5 mismatches a group like `(?:...)*+` whose content can match in several ways (gh-106052)."""
    assert not re.findall(r"(?<!\\)\)(?:[*+?]|\{[\d,]+\})\+", FILES[name].read_text(encoding="utf-8"))
