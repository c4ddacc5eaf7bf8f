"""`soapbatch call` and `soapbatch info`: operations of the contract, by name."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from soapbatch.cli.connecting import onsite_client
from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.passwords import find_application_token
from soapbatch.cli.rows import pair
from soapbatch.errors import UsageError
from soapbatch.model import (
    ALL_ASSOCIATES,
    ALL_USER_TASKS,
    BOOLEAN,
    DATE_TIME,
    INT,
    SHORT,
    SYSTEM_TASKS,
    Array,
    BatchTaskInfo,
    Binding,
    Dictionary,
    Field,
    Record,
    Secret,
    redact_envelope,
    to_plain,
)
from soapbatch.operations import OPERATIONS, SECRET_PARAMETERS, Operation
from soapbatch.soap import build_request

_LISTS: Final = {"all": ALL_ASSOCIATES, "users": ALL_USER_TASKS, "system": SYSTEM_TASKS}
_TRUTHS: Final = {"true": True, "false": False}


async def info(invocation: Invocation) -> int:
    """Show what the server is. Needs no login."""
    output = invocation.output
    async with _anonymous(invocation) as client:
        system = await client.principal.get_system_info()
    if output.is_json:
        output.write_json({"system": system})
    else:
        output.write_fields(to_plain(system) or {})
    return ExitStatus.DONE


async def call(invocation: Invocation) -> int:
    """Call one operation, or print the envelope that would be sent."""
    options, output = invocation.options, invocation.output
    operation = operation_meant(options.operation)
    arguments = arguments_of(operation, options.values)
    if options.dry_run:
        output.write(envelope(invocation, operation, arguments))
        return ExitStatus.DONE
    if not operation.is_read_only and not operation.name.startswith("Authenticate"):
        output.confirm(f"Call {operation.name}, which changes something on the server?")
    async with invocation.client() if operation.agent.takes_ticket else _anonymous(invocation) as client:
        agent = {"Batch": client.batch, "SoPrincipal": client.principal, "BLOB": client.blob}[operation.agent.name]
        result = await getattr(agent, operation.python_name)(**arguments)
    _write_result(invocation, operation, result)
    return ExitStatus.DONE


def _anonymous(invocation: Invocation) -> Any:
    return onsite_client(invocation.settings) if invocation.settings.tenant is None else invocation.client()


def operation_meant(name: str) -> Operation[Any]:
    """Return the operation with this name, as on the wire or as in Python, in any case.

    Raises:
        UsageError: there is none; the message names similar ones.
    """
    by_name = {operation.name.lower(): operation for operation in OPERATIONS.values()}
    found = by_name.get(name.replace("_", "").lower())
    if found is None:
        similar = difflib.get_close_matches(name.replace("_", "").lower(), by_name, n=3)
        hint = " or ".join(by_name[other].name for other in similar) or ", ".join(OPERATIONS)
        raise UsageError(f"there is no operation {name!r}: do you mean {hint}?")
    return found


def arguments_of(operation: Operation[Any], words: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that words like `id=42` and `batch_task_info.name=Export` give.

    Raises:
        UsageError: a word is no argument of the operation, its value is none, or it is a secret.
    """
    found: dict[str, Any] = {}
    by_name = {name: row for row in operation.parameters for name in (row.attribute, row.name.lower())}
    for word in words:
        try:
            key, text = pair(word)
        except argparse.ArgumentTypeError as error:
            raise UsageError(str(error)) from None
        name, _, path = key.partition(".")
        row = by_name.get(name.lower())
        if row is None:
            names = ", ".join(row.attribute for row in operation.parameters) or "none"
            raise UsageError(f"{operation.name} has no parameter {name!r}: there are {names}")
        if row.attribute in SECRET_PARAMETERS:
            text = _secret_from(key, text)
        if isinstance(row.type, Record | Dictionary):
            _put(found.setdefault(row.attribute, {}), row, path, text)
        elif path:
            raise UsageError(f"{row.attribute} has no fields")
        else:
            found[row.attribute] = _value(row, text)
    absent = [row.attribute for row in operation.parameters if row.attribute not in found]
    if absent:
        raise UsageError(f"{operation.name} needs {', '.join(f'{name}=...' for name in absent)}")
    tasks = {row.attribute for row in operation.parameters if isinstance(row.type, Record)}
    return {name: BatchTaskInfo(**value) if name in tasks else value for name, value in found.items()}


def _put(fields: dict[str, Any], row: Field, path: str, text: str) -> None:
    """Put a value at a path such as `parameter_object.archive` into the fields of a record or a dictionary."""
    if isinstance(row.type, Dictionary):
        if not path:
            raise UsageError(f"{row.attribute}: write {row.attribute}.NAME=VALUE")
        fields[path] = text
        return
    assert isinstance(row.type, Record)  # noqa: S101 - the caller asks for the two only
    name, _, rest = path.partition(".")
    inner = next((field for field in row.type.fields if name.lower() in {field.attribute, field.name.lower()}), None)
    if inner is None:
        raise UsageError(f"{row.attribute} has no field {name!r}: write {row.attribute}.NAME=VALUE")
    if isinstance(inner.type, Dictionary):
        _put(fields.setdefault(inner.attribute, {}), inner, rest, text)
    else:
        fields[inner.attribute] = _value(inner, text)


def _value(row: Field, text: str) -> Any:
    """Return the value that `text` means for a parameter or a field.

    Raises:
        UsageError: it means none.
    """
    try:
        if isinstance(row.type, Array):
            return _LISTS[text] if text in _LISTS else [int(part) for part in text.split(",")]
        if row.type in {INT, SHORT}:
            return int(text)
        if row.type is DATE_TIME:
            return datetime.fromisoformat(text)
        return _TRUTHS[text.lower()] if row.type is BOOLEAN else text
    except (KeyError, ValueError):
        raise UsageError(f"{row.attribute}: {text!r} is no value of type {row.type.name}") from None


def _secret_from(key: str, text: str) -> Any:
    """Return the secret that `@FILE` or `@-` names."""
    if not text.startswith("@"):
        raise UsageError(
            f"{key} is a secret, which others could see on a command line: {key}=@FILE, or {key}=@- reads it"
        )
    try:
        content = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{key}: {text[1:]} cannot be read: {type(error).__name__}") from None
    return Secret(content.removesuffix("\n").removesuffix("\r"))


def envelope(invocation: Invocation, operation: Operation[Any], arguments: dict[str, Any]) -> str:
    """Return the envelope of a call, with secrets masked. Nothing is sent, and nobody logs in."""
    settings = invocation.settings
    token = find_application_token(settings)
    request = build_request(
        operation,
        arguments,
        version=settings.version,
        binding=settings.binding or Binding.DOCUMENTED,
        application_token=token,
        ticket="***",
    )
    invocation.output.say(f"POST {request.path}")
    for name, value in request.headers.items():
        invocation.output.say(f"{name}: {value}")
    secrets = [value for value in (token, *arguments.values()) if isinstance(value, Secret)]
    return redact_envelope(request.body.decode(), secrets).rstrip("\n")


def _write_result(invocation: Invocation, operation: Operation[Any], result: Any) -> None:
    output = invocation.output
    is_tasks = isinstance(operation.result, Array)
    if output.is_json:
        output.write_json({"operation": operation.name, "result": result})
    elif is_tasks:
        output.write_tasks(result)
    elif isinstance(plain := to_plain(result), dict):
        output.write_fields(cast("dict[str, Any]", plain))
    elif plain is not None:
        output.write(str(plain).lower() if isinstance(plain, bool) else str(plain))
