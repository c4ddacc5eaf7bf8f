"""`soapbatch help`: the pages of `soapbatch.guide`, on the terminal."""

import difflib
import importlib
import inspect
import pydoc
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from soapbatch import guide
from soapbatch.cli.job_rows import JOB_COMMANDS
from soapbatch.cli.server_rows import SERVER_COMMANDS
from soapbatch.errors import UsageError

if TYPE_CHECKING:
    from soapbatch.cli.invocation import Invocation

_ROW: Final = re.compile(r"^    (\w+) {2,}(\S.*)$", re.MULTILINE)

_PICTURE: Final = re.compile(r"!\[(.+?)\]\((\w+\.svg)\)")


def summaries() -> dict[str, str]:
    """Return the line about each page, by the name of the page, in the order in which the guide lists them."""
    return dict(_ROW.findall(guide.__doc__ or ""))


async def show_page(invocation: "Invocation") -> None:
    """Print a page, or the list of the pages."""
    output = invocation.output
    wanted: str | None = invocation.options.page
    if wanted is None:
        pages = summaries()
        if output.is_json:
            output.write_json({"pages": [{"name": name, "summary": line} for name, line in pages.items()]})
            return
        width = max(map(len, pages))
        lines = "\n".join(f"  {name:<{width}}  {line}" for name, line in pages.items())
        output.write(f"Pages to read, each with `soapbatch help PAGE`:\n\n{lines}")
        return
    name = _found(wanted)
    text = _with_paths(inspect.getdoc(importlib.import_module(f"soapbatch.guide.{name}")) or "")
    if output.is_json:
        output.write_json({"page": name, "text": text})
    elif output.takes_input and sys.stdout.isatty():
        pydoc.pager(f"{text}\n")
    else:
        output.write(text)


def _with_paths(text: str) -> str:
    """Return a page with the path of each picture: a terminal cannot show one, and a browser can."""
    return _PICTURE.sub(lambda match: f"[{match[1]}: {Path(guide.__path__[0]) / match[2]}]", text)


def _found(wanted: str) -> str:
    """Return the name of the page that `wanted` means.

    Raises:
        UsageError: there is none.
    """
    name, names = wanted.lower().replace("-", "_"), list(summaries())
    if name in names:
        return name
    if wanted in {command.name for command in (*JOB_COMMANDS, *SERVER_COMMANDS)}:
        raise UsageError(f"{wanted!r} is a command and no page: `soapbatch {wanted} --help` explains it")
    near = difflib.get_close_matches(name, names)
    raise UsageError(
        f"there is no page {wanted!r}: {'did you mean' if near else 'there are'} {', '.join(near or names)}"
    )
