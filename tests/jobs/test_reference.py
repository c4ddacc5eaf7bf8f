"""References: what another process needs to take a job over."""

import json
from typing import Any

import pytest

from soapbatch import JobReference, ServiceVersion, UsageError
from soapbatch.jobs.reference import same_server
from tests.support.job_server import World, in_world

V88 = ServiceVersion.V88
SERVER = "https://crm.example.com/SuperOffice"

REFERENCES = [
    pytest.param(JobReference(server=SERVER, version=V88, id=42), f"soapbatch:{SERVER}?version=88&id=42", id="plain"),
    pytest.param(
        JobReference(server="https://[::1]:8443/a b/Ü", version=ServiceVersion.V75, id=1, key="acme/x & y=1?#"),
        "soapbatch:https://[::1]:8443/a%20b/%C3%9C?version=75&id=1&key=acme%2Fx+%26+y%3D1%3F%23",
        id="with all that must be escaped",
    ),
    pytest.param(
        JobReference(server="Cust12345", version=V88, id=7, key="k"),
        "soapbatch:Cust12345?version=88&id=7&key=k",
        id="of a tenant",
    ),
]


@pytest.mark.parametrize(("reference", "text"), REFERENCES)
def test_a_reference_crosses_processes(reference: JobReference, text: str) -> None:
    """A reference goes through a line of text and through JSON, and is a value."""
    assert str(reference) == text
    assert JobReference.parse(text) == reference
    fields = json.loads(json.dumps(reference.to_dict()))
    assert JobReference.from_dict(fields) == reference
    assert len({reference, JobReference.parse(text)}) == 1


def test_a_reference_without_a_key_may_leave_it_out() -> None:
    """`from_dict` takes a dictionary without `key`."""
    reference = JobReference.from_dict({"server": SERVER, "version": 88, "id": 42})
    assert reference == JobReference(server=SERVER, version=V88, id=42)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("https://crm.example.com?version=88&id=42", id="no scheme of ours"),
        pytest.param("soapbatch:https://crm.example.com", id="no fields"),
        pytest.param("soapbatch:https://crm.example.com?version=88", id="no id"),
        pytest.param("soapbatch:https://crm.example.com?version=88&id=x", id="an id that is no number"),
        pytest.param("soapbatch:https://crm.example.com?version=89&id=42", id="no such version"),
        pytest.param("soapbatch:https://crm.example.com?version=88&id=42&id=43", id="two ids"),
        pytest.param("soapbatch:https://crm.example.com?version=88&id=42&user=a", id="a field too many"),
        pytest.param("soapbatch:?version=88&id=42", id="no server"),
        pytest.param("soapbatch:x?version=88&id=42&key=+a", id="no key that a start takes"),
        pytest.param(b"soapbatch:x?version=88&id=42", id="bytes"),
    ],
)
def test_text_that_is_no_reference(text: Any) -> None:
    """Each is a UsageError."""
    with pytest.raises(UsageError):
        JobReference.parse(text)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"server": 5}, id="server"),
        pytest.param({"version": "88"}, id="version"),
        pytest.param({"version": None}, id="no version"),
        pytest.param({"id": "42"}, id="id"),
        pytest.param({"id": True}, id="a bool"),
        pytest.param({"key": 5}, id="key"),
        pytest.param({"user": "anna"}, id="a field too many"),
    ],
)
def test_fields_that_are_no_reference(changes: dict[str, Any]) -> None:
    """Each is a UsageError."""
    with pytest.raises(UsageError):
        JobReference.from_dict({"server": SERVER, "version": 88, "id": 42} | changes)


def test_what_is_no_dictionary() -> None:
    """A list of fields is a UsageError; so is a version that is only a number."""
    with pytest.raises(UsageError, match="dictionary"):
        JobReference.from_dict([SERVER, 88, 42])  # type: ignore[arg-type]  # what is refused
    with pytest.raises(UsageError, match="ServiceVersion"):
        JobReference(server=SERVER, version=88, id=42)  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        pytest.param(SERVER, True, id="equal"),
        pytest.param("HTTPS://CRM.example.com/superoffice/", True, id="letter case and a slash"),
        pytest.param("https://crm.example.com:443/SuperOffice", True, id="the default port"),
        pytest.param("https://crm.example.com:8443/SuperOffice", False, id="another port"),
        pytest.param("http://crm.example.com/SuperOffice", False, id="another scheme"),
        pytest.param("https://crm.example.com/Test", False, id="another path"),
        pytest.param("https://crm.example.org/SuperOffice", False, id="another host"),
        pytest.param("Cust12345", False, id="a tenant"),
    ],
)
def test_which_servers_are_the_same(other: str, is_same: bool) -> None:  # noqa: FBT001 - a column
    """What does not matter to a server does not matter here."""
    assert same_server(SERVER, other) is is_same
    assert same_server("Cust12345", "cust12345")


@in_world
async def test_attaching_to_a_reference(world: World) -> None:
    """A handle's reference is of its client's server; another process attaches to it, with its key."""
    job = await world.client.jobs.start("ExportArchiveBatchPlugin", key="acme/1")
    reference = job.reference
    assert reference == JobReference(server="http://127.0.0.1", version=V88, id=job.id, key="acme/1")
    async with world.other_client(version=ServiceVersion.V80) as client:
        requests = world.server.requests
        attached = client.jobs.attach(JobReference.parse(str(reference)))
        assert world.server.requests == requests
        assert (attached.id, attached.key, attached.reference.version) == (job.id, "acme/1", ServiceVersion.V80)
        assert (await attached.wait()).id == job.id


@in_world
async def test_attaching_to_a_job_of_another_server_is_refused(world: World) -> None:
    """The UsageError names both servers."""
    reference = JobReference(server=SERVER, version=V88, id=1)
    with pytest.raises(UsageError, match=rf"of {SERVER}, and this client is one of http://127\.0\.0\.1"):
        world.client.jobs.attach(reference)
