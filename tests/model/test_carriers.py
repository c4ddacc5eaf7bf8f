"""What all carriers can do: be a key of a dictionary, and become JSON; and what a task says of its job."""

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Secret, model
from soapbatch.model import Carrier, ExceptionInfo, SoCredentials, batch, headers, principal
from soapbatch.model.headers import RequestHeader
from soapbatch.model.principal import DSAParameters, GrantedModuleLicense, SignedPublicKey, SoPrincipalCarrier

S = BatchTaskState


CARRIERS: list[type[Any]] = [
    value
    for module in (batch, headers, principal)
    for value in vars(module).values()
    if isinstance(value, type) and value.__module__ == module.__name__ and attrs.has(value)
]


@pytest.mark.parametrize("kind", CARRIERS, ids=lambda kind: kind.__name__)
def test_every_carrier_hashes_and_becomes_json(kind: type[Any]) -> None:
    """An empty carrier, and one that holds a list or dictionary wherever it can, have a hash and a JSON form."""
    fields = attrs.fields(kind)
    assert json.loads(json.dumps(kind().to_dict())) == {field.name: None for field in fields}
    samples: dict[str, Any] = {"Dictionary": {"a": "1"}, "Array": [1]}
    types = {field.name: type(field.metadata["wire"].type).__name__ for field in fields}
    full = {name: samples[type_] for name, type_ in types.items() if type_ in samples}
    assert hash(kind(**full)) == hash(kind(**full))
    assert len({kind(**full), kind(**full)}) == 1
    assert {name: value for name, value in kind(**full).to_dict().items() if value is not None} == full


def test_the_carriers_are_all_of_them() -> None:
    """Every class that crosses the wire is a carrier."""
    records = [value for value in vars(model).values() if isinstance(value, model.Record)]
    assert {record.carrier for record in records} <= {*CARRIERS}
    assert all(issubclass(kind, Carrier) for kind in CARRIERS)
    assert len(CARRIERS) == 15


def test_what_becomes_of_values() -> None:
    """Dates become ISO text, bytes base64, enumerations their wire text; a secret is masked, also as plain text."""
    info = BatchTaskInfo(
        id=1,
        state=S.ACQUIRED,
        created=datetime(2024, 5, 1, tzinfo=UTC),
        parameter_object={"a": None},
        is_system_task=False,
    )
    shown = {name: value for name, value in info.to_dict().items() if value is not None}
    assert shown == {
        "id": 1,
        "state": "Aquired",
        "created": "2024-05-01T00:00:00+00:00",
        "parameter_object": {"a": None},
        "is_system_task": False,
    }
    assert type(shown["state"]) is str
    assert BatchTaskInfo(state="Sleeping").to_dict()["state"] == "Sleeping"
    header = RequestHeader(application_token=Secret("t0ken"), credentials=SoCredentials(ticket="7T:plain"))
    assert header.to_dict() == {"application_token": "***", "credentials": {"ticket": "***"}, "time_zone": None}
    key = SignedPublicKey(key=DSAParameters(g=b"\0\xff"))
    assert key.to_dict()["key"]["g"] == "AP8="
    user = SoPrincipalCarrier(licenses=[GrantedModuleLicense(name="Sales")], secondary_groups=(1, 2))
    shown = user.to_dict()
    assert (shown["licenses"][0]["name"], shown["secondary_groups"]) == ("Sales", [1, 2])
    inner = ExceptionInfo(inner_exception=ExceptionInfo(parameters={"k": Secret("v")}))  # type: ignore[dict-item]  # bears one
    assert inner.to_dict()["inner_exception"]["parameters"] == {"k": "***"}


@pytest.mark.parametrize("state", [*S, *(state.value for state in S), "Sleeping", None])
def test_what_counts_as_the_end(state: BatchTaskState | str | None) -> None:
    """The three terminal states are an end, also as text; a state that this release does not know is not."""
    info = BatchTaskInfo(state=state)
    assert info.has_ended is (state in {"Succeeded", "Failed", "SucceededManualCleanup"})
    assert info.succeeded is (state in {"Succeeded", "SucceededManualCleanup"})
