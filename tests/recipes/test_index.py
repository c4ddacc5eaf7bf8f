"""The list of the recipes names each, and each has a test."""

import re
from pathlib import Path

from tests import recipes

FOLDER = Path(__file__).parent


def test_the_list_names_each_recipe() -> None:
    """A recipe is a program or a notebook; its test is named as it is."""
    found = {path.stem for path in FOLDER.glob("[!_]*") if path.suffix in {".py", ".ipynb"}}
    programs = {name for name in found if not name.startswith("test_")}
    assert set(re.findall(r"^    (\w+) {2,}\S", recipes.__doc__ or "", re.MULTILINE)) == programs
    assert {f"test_{name}" for name in programs} | {"test_index"} == found - programs
