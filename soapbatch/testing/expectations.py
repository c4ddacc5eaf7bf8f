"""Which calls a test expected: calls are found by operation and arguments, and messages show the nearest calls."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

import attrs

from soapbatch.errors import UsageError
from soapbatch.model import Record
from soapbatch.operations import OPERATIONS, Operation, operation_named
from soapbatch.testing.interceptors import Call

_CALLS_SHOWN: Final = 5


@attrs.frozen
class Expectation:
    """The calls that a test asks for.

    Attributes:
        operation: the wire name of the operation; None: any.
        arguments: the values that the arguments have, by parameter name. For a parameter that is a carrier, such as
            `batch_task_info`, the fields of the carrier can be named too.
    """

    operation: str | None
    arguments: Mapping[str, object]

    @classmethod
    def of(cls, operation: Operation[Any] | str | None, arguments: Mapping[str, object]) -> "Expectation":
        """Return the expectation for a row of `soapbatch.operations` or a wire name.

        Raises:
            UsageError: there is no such operation, or no such argument.
        """
        rows = OPERATIONS.values() if operation is None else [operation_named(operation)]
        known = {name for row in rows for name in _names(row)}
        if unknown := sorted(arguments.keys() - known):
            whom = "no operation" if operation is None else next(iter(rows)).name
            verb = "takes" if operation is None else "takes no"
            raise UsageError(f"{whom} {verb} {', '.join(unknown)}; what can be named is {', '.join(sorted(known))}")
        return cls(None if operation is None else operation_named(operation).name, arguments)

    def matches(self, call: Call) -> bool:
        """Return whether the test asks for this call."""
        return self.operation in {None, call.operation} and not self.differences(call)

    def differences(self, call: Call) -> list[str]:
        """Return what the call's arguments are where they are not as expected."""
        values = _values(call)
        absent = object()
        return [
            f"{name} is {values[name]!r}" if name in values else f"it has no {name}"
            for name, expected in self.arguments.items()
            if values.get(name, absent) != expected
        ]

    def likeness(self, call: Call) -> tuple[float, int]:
        """Return how near a call is: the likeness of the operations' names, then the number of equal arguments."""
        names = 1.0 if self.operation is None else SequenceMatcher(None, self.operation, call.operation).ratio()
        return names, len(self.arguments) - len(self.differences(call))

    def __str__(self) -> str:
        """Return the expectation as a call."""
        return _as_call(self.operation or "any operation", self.arguments)


def find_calls(calls: Iterable[Call], expectation: Expectation) -> list[Call]:
    """Return the calls that a test asks for, the oldest first."""
    return [call for call in calls if expectation.matches(call)]


def wrong_number(expectation: Expectation, expected: str, found: Sequence[Call], calls: Sequence[Call]) -> str:
    """Return the message for a number of calls that is not the expected one.

    Args:
        expectation: the calls that the test asks for.
        expected: how often they should have been made: "once" or "never".
        found: the calls that were made.
        calls: all calls, the oldest first.
    """
    number = {0: "not called", 1: "called once", 2: "called twice"}.get(len(found), f"called {len(found)} times")
    lines = [f"{expectation} was {number}, and should have been called {expected}."]
    if found:
        shown, title = list(found), "The calls were:"
    else:
        ranked = sorted(calls, key=expectation.likeness, reverse=True)  # stable: of equal calls the oldest comes first
        shown, title = ranked, f"The server has had {len(calls)} other call(s); the nearest first:"
        if not calls:
            title = "No call has reached the server."
    lines.append(title)
    for call in shown[:_CALLS_SHOWN]:
        arguments = {name: value for name, value in _values(call).items() if not (value is None or is_carrier(value))}
        same_operation = expectation.operation in {None, call.operation}
        differences = "; ".join(expectation.differences(call)) if same_operation else "another operation"
        lines.append(
            f"  {_as_call(call.operation, arguments)}, {call.outcome or 'unfinished'}"
            + (differences and f": {differences}")
        )
    if len(shown) > _CALLS_SHOWN:
        lines.append(f"  and {len(shown) - _CALLS_SHOWN} more")
    return "\n".join(lines)


def _as_call(name: str, arguments: Mapping[str, object]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _names(operation: Operation[Any]) -> Iterable[str]:
    """Yield the names of an operation's parameters, and of the fields of those that are carriers."""
    for parameter in operation.parameters:
        yield parameter.attribute
        if isinstance(parameter.type, Record):
            yield from (field.attribute for field in parameter.type.fields)


def _values(call: Call) -> dict[str, Any]:
    """Return the arguments of a call, and the fields of those that are carriers."""
    values: dict[str, Any] = {}
    for argument in call.arguments.values():
        if is_carrier(argument):
            values |= attrs.asdict(argument, recurse=False)
    return values | dict(call.arguments)


def is_carrier(value: object) -> bool:
    """Return whether a value is a carrier, which has fields."""
    return attrs.has(type(value))
