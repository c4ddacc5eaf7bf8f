"""Build the reference and the guide as HTML, with pdoc: `python -m tests.docs [FOLDER]`, or `make docs`.

The reference shows public names where they are imported from: the names of the root, and those of each wing. The other
modules of a wing are its own business. A warning of pdoc is an error.
"""

import ast
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "build" / "docs"
HIDDEN: Final = {"__main__", "_lazy", "cli", "system"}
"""Entries of the package that nobody imports: `soapbatch --help` explains the command."""
INSIDE: Final = {"guide": None, "integrations": None, "testing": {"control", "plugin"}}
"""Wings with modules that users import, or read; None: all of them."""


SECTIONS: Final = ("Args", "Attributes", "Raises", "Returns", "Yields")
"""The headings of sections in our docstrings. pdoc takes any words before a colon and a block of code for one."""
_BEFORE_CODE: Final = re.compile(rf"^((?!(?:{'|'.join(SECTIONS)}):)[A-Z].*):$", re.MULTILINE)


def without_false_sections(text: str) -> str:
    """Return a docstring in which no other words look like the heading of a section."""
    return _BEFORE_CODE.sub(r"\1&#58;", text)


def without_dead_links(page: str) -> str:
    """Return a page without links to what it lacks: pdoc links an inherited member to a class that does not show it."""
    ids = {*re.findall(r'id="([^"]+)"', page)}
    return re.sub(r'<a href="#([^"]+)">([^<]*)</a>', lambda link: link[0 if link[1] in ids else 2], page)


def names_of(module: ModuleType) -> list[str]:
    """Return the public names of a package: those that it lists, or imports as themselves."""
    listed: list[str] | None = getattr(module, "__all__", None)
    if listed is not None:
        return listed
    imports = (node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ImportFrom))
    return [alias.name for node in imports for alias in node.names if alias.asname == alias.name]


def public(module: ModuleType, wanted: set[str] | None) -> Iterator[tuple[ModuleType, list[str]]]:
    """Yield a module and what the reference shows of it, then those of its modules that are wanted."""
    path = getattr(module, "__path__", None)
    if path is None:
        yield module, []
        return
    modules = [found.name for found in pkgutil.iter_modules(path) if wanted is None or found.name in wanted]
    yield module, [*names_of(module), *modules]
    for name in modules:
        yield from public(import_module(f"{module.__name__}.{name}"), INSIDE.get(name, set()))


def documented() -> dict[str, list[str]]:
    """Return the public names of each package of the reference; of a module that is no package, none: it shows all."""
    root = import_module("soapbatch")
    entries = {found.name for found in pkgutil.iter_modules(root.__path__)} - HIDDEN
    return {module.__name__: names for module, names in public(root, entries)}


def build(folder: Path) -> None:
    """Write the pages into a folder, and change the packages of this process so that pdoc finds their public names.

    Raises:
        UserWarning: pdoc has found something wrong.
    """
    import pdoc  # noqa: PLC0415 - `documented` does without

    warnings.simplefilter("error", UserWarning)  # what pdoc warns of
    warnings.filterwarnings("ignore", ".*_Decompress")  # a name of typeshed, which Python itself does not have
    for package, names in documented().items():
        module = import_module(package)
        if names:
            vars(module)["__all__"] = names
    google = pdoc.docstrings.google

    def read_sections(docstring: str) -> str:
        return google(without_false_sections(docstring))

    pdoc.docstrings.google = read_sections
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc("soapbatch", output_directory=folder)
    for page in folder.rglob("*.html"):
        page.write_text(without_dead_links(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    build(target)
    print(f"open {target / 'index.html'}")
