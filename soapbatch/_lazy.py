"""Public names of a package that are imported when they are first asked for.

    __getattr__, __dir__ = lazy_names(__name__, __file__)

The stub beside the package's `__init__.py` lists the names once, for type checkers and for this module.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package.

    Args:
        package: the package's `__name__`.
        file: the package's `__file__`.
    """

    @cache
    def homes() -> dict[str, str]:
        """Return the module of each public name, as the stub lists them."""
        import ast  # noqa: PLC0415 - only a program that asks for a name pays for it
        from pathlib import Path  # noqa: PLC0415 - likewise

        stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
        imports = (node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module)
        return {alias.name: str(node.module) for node in imports for alias in node.names}

    def get(name: str) -> Any:
        """Import a public name from the module that defines it."""
        from importlib import import_module  # noqa: PLC0415 - as above

        if name == "__all__":
            # Who asks for all names, such as a documentation tool, then looks for each among those of the module.
            for public in homes():
                getattr(sys.modules[package], public)
            return sorted(homes())
        if name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes()[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(homes())
