"""What stands in .github for machines: workflows and forms are valid, and agree with pyproject.toml."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests import pythons

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": WORKFLOWS,
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-forms": sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")),
}


def read(path: Path) -> Any:
    """Return what a YAML file says."""
    return YAML(typ="safe").load(path)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_each_file_follows_its_schema(schema: str) -> None:
    """GitHub's schemas accept the files; every job of a workflow ends by itself."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, SCHEMAS[schema])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own files
    assert SCHEMAS[schema]
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing() -> None:
    """Expressions, shell and inputs of actions are right; CI runs this in a container."""
    if not (actionlint := shutil.which("actionlint")):
        pytest.skip("no program actionlint")
    done = subprocess.run([actionlint, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)  # noqa: S603 - our own files
    assert done.returncode == 0, done.stdout


def test_the_pythons_that_are_promised_are_tested() -> None:
    """Classifiers and the matrix of the tests have the same versions, without gap, from requires-python on."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    matrix = read(GITHUB / "workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert matrix == pythons.versions()
    assert about["requires-python"] == f">={matrix[0]}"
    minors = [int(version.removeprefix("3.")) for version in matrix]
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_a_release_is_published_without_a_token() -> None:
    """What builds cannot publish; what publishes has OIDC and nothing else, and builds nothing."""
    jobs = read(GITHUB / "workflows/release.yml")["jobs"]
    assert "permissions" not in jobs["build"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"
    assert [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert jobs["publish"]["steps"][-1]["with"] == {"attestations": True}


def test_a_workflow_may_read_and_no_more() -> None:
    """Each begins with the least rights, and leaves no credentials in the checkout."""
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}, path.name
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        for step in steps:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, path.name


def test_who_reports_trouble_is_asked_for_the_doctor() -> None:
    """The form wants the output of `soapbatch doctor`, and the template of a pull request names it."""
    fields = {field.get("id"): field for field in read(GITHUB / "ISSUE_TEMPLATE/bug.yml")["body"]}
    assert "soapbatch doctor" in fields["doctor"]["attributes"]["description"]
    assert fields["doctor"]["validations"]["required"] is True
    assert "soapbatch doctor" in (GITHUB / "PULL_REQUEST_TEMPLATE.md").read_text("utf-8")


CONTRIBUTING = " ".join((GITHUB / "CONTRIBUTING.md").read_text("utf-8").split())


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:soapbatch|tests|fixtures)/[\w./]+)`", CONTRIBUTING))))
def test_contributing_names_what_there_is(path: str) -> None:
    """Each file and folder that it sends somebody to exists; NAME is that of a new one."""
    assert list(ROOT.glob(path.replace("NAME", "*")))


@pytest.mark.parametrize(
    ("names", "path"),
    re.findall(r"((?:`[A-Za-z_]+`(?:, | and ))*`[A-Za-z_]+`)[\w ]*? (?:of|in) `([\w/]+\.py)`", CONTRIBUTING),
)
def test_contributing_names_what_is_in_a_file(names: str, path: str) -> None:
    """A table or class that it names in a file stands there."""
    text = (ROOT / path).read_text("utf-8")
    assert [name for name in re.findall(r"`(\w+)`", names) if not re.search(rf"\b{name}\b", text)] == []
