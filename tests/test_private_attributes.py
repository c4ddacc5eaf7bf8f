"""Private attributes of other libraries that this project uses: a row each, with what to do when a release drops it.

A private attribute is one whose name begins with an underscore and that its library does not document. Rows are few:
a public way is taken where there is one.
"""

import argparse
import ast
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
import requests
from lxml import etree

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # zeep's imports, not ours
    import zeep

ROOT = Path(__file__).parents[1]
FILES = [path for folder in ("soapbatch", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
FILES.remove(Path(__file__))
OURS = ("soapbatch", "tests")


@attrs.frozen
class Private:
    """A private attribute of another library.

    Attributes:
        library: whose it is.
        users: the folders or files that use it, below the root of the repository.
        works: a canary: whether the attribute still is what its users take it for.
        advice: what to do when it is not.
    """

    library: str
    users: tuple[str, ...]
    works: Callable[[], bool]
    advice: str


def fills_text() -> bool:
    """Tell whether argparse asks `_fill_text` for the layout of a description."""

    class Formatter(argparse.HelpFormatter):
        def _fill_text(self, text: str, width: int, indent: str) -> str:
            return f"{indent}{text} in {width} columns"

    parser = argparse.ArgumentParser(description="what it is", formatter_class=Formatter)
    return "what it is in " in parser.format_help()


def titles_positionals() -> bool:
    """Tell whether `_positionals` is the group of arguments whose title help shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser._positionals.title = "what to name"
    return "what to name:" in parser.format_help()


def lists_actions() -> bool:
    """Tell whether `_actions` lists every argument of a parser."""
    parser = argparse.ArgumentParser(add_help=False)
    return parser._actions == [parser.add_argument("name")]


def is_the_class_of_subparsers() -> bool:
    """Tell whether add_subparsers returns a `_SubParsersAction`, with the parsers in `choices`."""
    commands = argparse.ArgumentParser().add_subparsers()
    return isinstance(commands, argparse._SubParsersAction) and commands.choices == {}


def has_content() -> bool:
    """Tell whether a response of requests whose `_content` is set has it as its content."""
    response = requests.Response()
    response._content = b"body"
    return response.content == b"body"


def service_proxy() -> Any:
    """Return what zeep's `client.service` is, of a binding without operations."""
    proxy: Any = zeep.proxy.ServiceProxy
    return proxy(None, argparse.Namespace(all=dict))


PRIVATE: dict[str, Private] = {
    "_Element": Private(
        "lxml",
        ("soapbatch/soap", "soapbatch/testing", "tests/bench", "tests/soap", "tests/support", "tests/testing"),
        lambda: type(etree.Element("a")) is etree._Element,
        "It is a name for annotations. Take the public class, if there is one by now, or `type(etree.Element('a'))` at "
        "run time and `Any` for type checkers: soapbatch/soap/decoders.py and xml_input.py have aliases of it.",
    ),
    "_Decompress": Private(
        "zlib",
        ("soapbatch/transport/decompression.py",),
        lambda: hasattr(zlib.decompressobj(), "unconsumed_tail"),
        "It is typeshed's name for what `zlib.decompressobj` returns. Annotate with the new name, or with Any.",
    ),
    "_fill_text": Private(
        "argparse",
        ("soapbatch/cli/command_line.py",),
        fills_text,
        "Help shows paragraphs without it, but on one long line: override what lays out descriptions now, or fill the "
        "texts of the rows before argparse gets them, with RawDescriptionHelpFormatter.",
    ),
    "_positionals": Private(
        "argparse",
        ("soapbatch/cli/command_line.py",),
        titles_positionals,
        "It only gives the group its title, 'arguments': add the arguments to a group of that title, or drop the line.",
    ),
    "_actions": Private(
        "argparse",
        ("tests/cli/test_completion.py",),
        lists_actions,
        "Ask argcomplete what it completes, in a process of its own.",
    ),
    "_SubParsersAction": Private(
        "argparse",
        ("tests/cli/test_completion.py",),
        is_the_class_of_subparsers,
        "Take the action that has `choices`.",
    ),
    "_operations": Private(
        "zeep",
        ("tests/testing/test_wsdl.py",),
        lambda: service_proxy()._operations == {},
        "`client.wsdl.services[...].ports[...].binding.all()` lists the operations.",
    ),
    "_binding": Private(
        "zeep",
        ("tests/bench/peers.py", "tests/soap/test_zeep_contract.py"),
        lambda: service_proxy()._binding.all() == {},
        "`client.wsdl.services[...].ports[...].binding` is the same object.",
    ),
    "_content": Private(
        "requests",
        ("tests/bench/peers.py",),
        has_content,
        "Set `raw` to an io.BytesIO of the body.",
    ),
}

# Underscored by their libraries, and documented.
DOCUMENTED = {"_asdict", "_replace", "_exit", "_getframe"}


@cache
def nodes() -> dict[str, list[ast.AST]]:
    """Return the nodes of the syntax tree of each file, by its path."""
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}
    return {path: list(ast.walk(ast.parse(text))) for path, text in texts.items()}


def is_private(name: str) -> bool:
    """Tell whether a name is private, and not a special one."""
    return name.startswith("_") and not name.endswith("__") and name not in {"_", *DOCUMENTED}


def own_names() -> set[str]:
    """Return every name that our files give to something."""
    names = set[str]()
    for node in chain.from_iterable(nodes().values()):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, value=ast.Name(id="self" | "cls"), ctx=ast.Store())
            ):
                names.add(name)
            case _:
                pass
    return names


def imports_of(path: str) -> Iterator[tuple[str, str]]:
    """Yield what a file imports: the name that it gets there, and the dotted name that it has."""
    for node in nodes()[path]:
        if isinstance(node, ast.Import):
            yield from (((a.asname or a.name).partition(".")[0], a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)


def root_of(node: ast.expr) -> str:
    """Return the first name of a dotted expression, or nothing."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def overridden(path: str) -> Iterator[str]:
    """Yield the private methods of foreign classes that classes of the file override."""
    module: ModuleType | None = None
    tree = nodes()[path][0]
    assert isinstance(tree, ast.Module)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or not node.bases:
            continue
        module = module or import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for base in vars(module)[node.name].__mro__[1:]:
            if base.__module__.partition(".")[0] not in OURS:
                names = {child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)}
                yield from filter(is_private, names & vars(base).keys())


@cache
def found() -> dict[str, set[str]]:
    """Return the private attributes of others that our files use, each with the files.

    An attribute is foreign if it is read from an imported module, if no file of ours gives its name to anything, or if
    a row of the table names it and it is not read from `self`. So a foreign attribute that has the name of one of ours
    can be missed; ruff's SLF001 finds it in the package, and a reviewer in the tests.
    """
    users: dict[str, set[str]] = defaultdict(set)
    ours = own_names()
    for path in nodes():
        imports = {name: source for name, source in imports_of(path) if source.partition(".")[0] not in OURS}
        for source in imports.values():
            for part in filter(is_private, source.split(".")):
                users[part].add(path)
        for node in nodes()[path]:
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                root = root_of(node)
                is_in_table = node.attr in PRIVATE and root not in {"self", "cls"}
                if root in imports or node.attr not in ours or is_in_table:
                    users[node.attr].add(path)
        if path.startswith("soapbatch/"):
            for name in overridden(path):
                users[name].add(path)
    return users


@pytest.mark.parametrize("name", PRIVATE)
def test_it_is_still_what_we_take_it_for(name: str) -> None:
    """The attribute exists and does what its users need."""
    row = PRIVATE[name]
    try:
        works = row.works()
    except AttributeError:
        works = False
    assert works, f"{row.library} has no {name} as it was. Users: {', '.join(row.users)}. {row.advice}"


@pytest.mark.slow
def test_every_private_attribute_has_a_row() -> None:
    """Code that begins to use another one names it here, with a canary and advice; a row that nobody needs is gone."""
    assert {name: sorted(files) for name, files in found().items() if name not in PRIVATE} == {}
    assert PRIVATE.keys() - found().keys() == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIVATE)
def test_the_users_are_named(name: str) -> None:
    """Each file that uses the attribute lies in a place that its row names, and each place has such a file."""
    places, files = PRIVATE[name].users, found()[name]
    assert [file for file in files if not file.startswith(places)] == []
    assert [place for place in places if not any(file.startswith(place) for file in files)] == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from lxml import etree\netree._Foo", "_Foo"),
        ("from httpx._models import Request", "_models"),
        ("import httpx._models", "_models"),
        ("def test(client): client.zeeps_own._bar()", "_bar"),
    ],
)
def test_the_search_finds_what_is_used(text: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of using a private attribute is seen."""
    monkeypatch.setattr(f"{__name__}.nodes", lambda: {"tests/new.py": list(ast.walk(ast.parse(text)))})
    assert found.__wrapped__() == {name: {"tests/new.py"}}
