"""Operation and values -> envelope bytes. A template is compiled once and filled by each call.

For each (operation, version, binding) the template becomes a small tree of writers: the writer of a scalar joins start
tag, text and end tag; the writer of a record calls those of its fields; the writer of an array joins its items. A call
only encodes, escapes and joins. A test compares the bytes with what lxml serialises for the same values.

The embedded NetServer builds its responses with the same writers.
"""

from collections.abc import Callable, Iterable, KeysView, Mapping
from functools import cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

import attrs

from soapbatch.errors import EncodeError, UsageError, clean_traceback
from soapbatch.model import (
    BASE64,
    BOOLEAN,
    DATE_TIME,
    INT,
    REPLY_HEADER,
    REQUEST_HEADER,
    SHORT,
    STRING,
    Array,
    Binding,
    Enumeration,
    Field,
    Record,
    ReplyHeader,
    Scalar,
    Secret,
    ServiceVersion,
    SoCredentials,
    SoTimeZone,
    WireType,
    escape_text,
    problem_of_prefix,
)
from soapbatch.operations import SECRET_PARAMETERS, Operation, operation_named
from soapbatch.soap import fast
from soapbatch.soap.constraints import Writer, as_list, reject_newer_values, with_constraints
from soapbatch.soap.template import Pieces, is_hole, template

R = TypeVar("R")

_ValuesWriter: TypeAlias = Callable[[Iterable[object]], str]

_PLAIN = (INT, SHORT, BOOLEAN, DATE_TIME, BASE64)  # types whose text never needs escaping


@attrs.frozen
class Request:
    """The request of one call, ready to be sent. Nothing in it depends on a socket or a clock.

    Attributes:
        path: of the endpoint below the base URL, for example `/Remote/Services88/Batch.svc`.
        headers: the HTTP headers that go with the envelope: Content-Type, and SOAPAction in SOAP 1.1.
        body: the envelope. It holds the credentials: the repr leaves it out, and a Request cannot be pickled.
        operation: the wire name.
        version: the service version.
        binding: the layout of the envelope.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    operation: str
    version: ServiceVersion
    binding: Binding

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: the body holds credentials."""
        raise TypeError("a Request holds credentials and cannot be pickled; build it again where it is needed")


def build_request(
    operation: Operation[Any] | str,
    arguments: Mapping[str, object],
    *,
    version: ServiceVersion,
    binding: Binding = Binding.DOCUMENTED,
    application_token: Secret | str | None = None,
    ticket: Secret | str | None = None,
    time_zone: SoTimeZone | None = None,
    path_prefix: str = "/Remote",
) -> Request:
    """Build the request of one call. Pure: no socket, no clock.

    Args:
        operation: a row of `soapbatch.operations`, or its wire name.
        arguments: the value of each parameter, by its name in snake_case. None may be missing, none added.
        version: of the services that are called.
        binding: the layout of the envelope.
        application_token: the app's client secret; None: no such header block.
        ticket: None: no `Credentials` block. SoPrincipal takes no ticket, so none is sent there.
        time_zone: sent to Batch only; the documented layout has no place for it.
        path_prefix: the path from the base URL to `Services88`; empty on a NetServer without `Remote`.

    Raises:
        NotInVersion: the version lacks the operation, or a field or value that is not None.
        EncodeError: a value cannot be written; its `path` names the value.
        UsageError: an unknown operation, a missing or unknown argument, an accidentally empty `associate_ids`.
    """
    # Wrap the secrets before anything can fail: a traceback may show the locals of this frame.
    arguments = _with_secrets_wrapped(arguments)
    application_token, ticket = Secret.token(application_token), Secret.token(ticket)
    prepared = prepare_request(
        operation,
        arguments,
        version=version,
        binding=binding,
        application_token=application_token,
        time_zone=time_zone,
        path_prefix=path_prefix,
    )
    return prepared.with_ticket(ticket)


def _with_secrets_wrapped(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """Return `arguments` with passwords and tokens wrapped; something that is refused instead of what is no mapping."""
    if not isinstance(arguments, Mapping):
        return cast("Mapping[str, object]", ())
    if SECRET_PARAMETERS.isdisjoint(arguments):
        return arguments
    wrapped = dict(arguments)
    for name in SECRET_PARAMETERS & wrapped.keys():
        wrapped[name] = _wrapped(wrapped[name])
    return wrapped


def _wrapped(value: object) -> object:
    if not isinstance(value, Mapping):
        return Secret.wrap(value)
    pairs = cast("Mapping[object, object]", value)
    return {key: Secret.wrap(text) for key, text in pairs.items()}


def prepare_request(
    operation: Operation[Any] | str,
    arguments: Mapping[str, object],
    *,
    version: ServiceVersion,
    binding: Binding,
    application_token: Secret | None,
    time_zone: SoTimeZone | None,
    path_prefix: str,
) -> "PreparedRequest":
    """Check and encode everything of a request but its ticket. Arguments and errors are those of `build_request`.

    A ticket may cost a login. So a request that cannot be built fails before there is a ticket.
    """
    row = operation_named(operation)
    row.check_version(version)
    if problem := _problem_of(arguments, binding, time_zone) or problem_of_prefix(path_prefix):
        raise UsageError(problem)
    with clean_traceback(row.name, version):  # the frames below hold revealed secrets
        template = _request_template(row, version, binding)
        call = template.encode_call(arguments)
    zone = time_zone if row.agent.takes_time_zone else None
    return PreparedRequest(row, version, binding, path_prefix, template, call, application_token, zone)


@attrs.frozen
class PreparedRequest:
    """A request that lacks its ticket only."""

    _operation: Operation[Any]
    _version: ServiceVersion
    _binding: Binding
    _path_prefix: str
    _template: "_Template" = attrs.field(repr=False)
    _call: str = attrs.field(repr=False)
    _application_token: Secret | None
    _time_zone: SoTimeZone | None

    def with_ticket(self, ticket: Secret | None) -> Request:
        """Return the whole request. `ticket`: None: no `Credentials` block. SoPrincipal takes no ticket."""
        row, template = self._operation, self._template
        credentials = SoCredentials(ticket=ticket) if ticket is not None and row.agent.takes_ticket else None
        with clean_traceback(row.name, self._version):
            body = template.fill((self._application_token, credentials, self._time_zone), self._call)
        path = f"{self._path_prefix}{template.path}"
        return Request(path, template.http_headers, body, row.name, self._version, self._binding)


def _problem_of(arguments: Mapping[str, object], binding: Binding, time_zone: SoTimeZone | None) -> str | None:
    """Return why no request can be built, or None."""
    if not isinstance(binding, Binding):
        return "binding must be a Binding, for example Binding.SOAP11"
    if not isinstance(arguments, dict | Mapping):  # isinstance takes ten times as long for Mapping as for dict
        return "arguments must be a mapping by parameter name"
    if time_zone is not None and binding.is_documented:
        return "the documented envelope has no place for a time zone: use Binding.SOAP11 or Binding.SOAP12"
    return None


def build_response(
    operation: Operation[R],
    result: R,
    *,
    version: ServiceVersion,
    binding: Binding = Binding.DOCUMENTED,
    header: ReplyHeader | None = None,
) -> bytes:
    """Build the envelope of a server's response to `operation`. Pure.

    Args:
        operation: the row.
        result: of the operation; None: the result element is absent.
        version: of the services that answer.
        binding: the layout of the envelope.
        header: the header blocks; None: no Header element.
    """
    if operation.result_name:
        values: Mapping[str, object] = {"result": result} if operation.result else {}
    else:
        values = attrs.asdict(cast(attrs.AttrsInstance, result), recurse=False)
    blocks = None if header is None else attrs.astuple(header, recurse=False)
    template = _response_template(operation, version, binding)
    return template.fill(blocks, template.encode_call(values))


@attrs.frozen
class _Template:
    """A compiled envelope, with its path and HTTP headers."""

    before: str
    header: "_Fields"
    call: "_Fields"
    path: str
    http_headers: Mapping[str, str]

    def encode_call(self, values: Mapping[str, object]) -> str:
        """Return the elements of the operation, for values by parameter name."""
        names = self.call.names
        if names != values.keys():
            wrong = [*(f"{name} is missing" for name in names - values.keys())]
            wrong += (f"{name} is unknown" for name in values.keys() - names)
            raise UsageError(f"the arguments are {sorted(names)}: {', '.join(sorted(wrong))}")
        return self.call.write(map(values.__getitem__, names))

    def fill(self, header: Iterable[object] | None, call: str) -> bytes:
        """Return the envelope: the values of its header blocks (None: it has none), and what `encode_call` returned."""
        blocks = "" if header is None else self.header.write(header)
        return f"{self.before}{blocks}{call}".encode()


@attrs.frozen
class _Fields:
    """A sequence of optional elements."""

    names: KeysView[str]
    writers: tuple[Writer, ...]
    write: "_ValuesWriter"
    """Returns the elements of values, in the order of `names`, with the literal text before and after them."""

    def values_of(self) -> Callable[[object], Iterable[object]]:
        """Return a function from a carrier to the values of its fields."""
        get: Callable[[object], Any] = attrgetter(*self.names)
        return get if len(self.names) > 1 else lambda carrier: (get(carrier),)


def _check_kind(value: object, carrier: type[object]) -> None:
    if not isinstance(value, carrier):
        raise ValueError(f"needs a {carrier.__name__}, got {type(value).__name__}")


def _values_writer(names: Iterable[str], writers: Iterable[Writer], head: str, tail: str) -> _ValuesWriter:
    """Return a writer of the values of `names` between two literals; it does not write a value that is None."""
    rows = tuple(zip(names, writers, strict=True))

    def write(values: Iterable[object]) -> str:
        parts = [head]
        name = ""
        try:
            for (name, write_value), value in zip(rows, values):  # noqa: B007, B905 - the name is for errors; both are equally long
                if value is not None:
                    parts.append(write_value(value))
        except EncodeError as error:
            raise error.under(name) from None
        except ValueError as error:
            raise EncodeError(str(error), name) from None
        parts.append(tail)
        return "".join(parts)

    return write


@cache
def _request_template(operation: Operation[Any], version: ServiceVersion, binding: Binding) -> _Template:
    pieces = template(operation, version, binding, REQUEST_HEADER.fields, operation.parameters, is_response=False)
    headers = binding.http_headers(operation.agent.action(version, operation.name))
    return _compile(pieces, version, REQUEST_HEADER, operation.parameters, operation.agent.path(version, ""), headers)


@cache
def _response_template(operation: Operation[Any], version: ServiceVersion, binding: Binding) -> _Template:
    operation.check_version(version)
    if operation.result is None:
        rows: tuple[Field, ...] = ()
    elif operation.result_name:
        rows = (Field(operation.result_name, operation.result, attribute="result"),)
    else:
        assert isinstance(operation.result, Record)  # noqa: S101 - no other type lacks an element of its own
        rows = operation.result.fields
    pieces = template(operation, version, binding, REPLY_HEADER.fields, rows, is_response=True)
    return _compile(pieces, version, REPLY_HEADER, rows, "", binding.http_headers(""))


def _compile(  # noqa: PLR0917 - what templates of requests and responses have in common
    pieces: Pieces,
    version: ServiceVersion,
    header: Record,
    rows: tuple[Field, ...],
    path: str,
    http_headers: Mapping[str, str],
) -> _Template:
    compiler = _Compiler(pieces, version)
    before = next(pieces)
    blocks = compiler.fields(header.fields)
    return _Template(before, blocks, compiler.fields(rows), path, MappingProxyType(http_headers))


@attrs.frozen
class _Compiler:
    """Turns the pieces of one template into writers. It takes the pieces in document order."""

    pieces: Pieces
    version: ServiceVersion
    enclosing: dict[Record, list[_Fields]] = attrs.field(factory=dict, init=False)

    def fields(self, rows: tuple[Field, ...]) -> _Fields:
        """Compile a sequence of optional elements: head, element, an empty piece, element, ..., tail."""
        head = next(self.pieces)
        tail = ""
        writers: list[Writer] = []
        for row in rows:
            writers.append(self.field(row))
            tail = next(self.pieces)
        names = dict.fromkeys(row.attribute for row in rows).keys()
        return _Fields(names, tuple(writers), _values_writer(names, writers, head, tail))

    def field(self, row: Field) -> Writer:
        """Compile one optional element, with the constraints of its row."""
        if not isinstance(row.type, Scalar):
            return with_constraints(row, self.version, self.writer(row.type))
        open_, close = next(self.pieces), next(self.pieces)
        general = with_constraints(row, self.version, self.scalar(row.type, open_, close))
        return fast.fast_writer(row, self.version, open_, close, general) if fast.IS_ON else general

    def writer(self, type_: WireType) -> Writer:
        """Compile one optional element from the pieces between its two outer cuts."""
        if is_hole(type_, self.enclosing):
            return self.hole(type_)
        match type_:
            case Record():
                return self.record(type_)
            case Array():
                return self.array(type_)
            case _:
                return self.dictionary()

    def hole(self, type_: WireType) -> Writer:
        open_, close = next(self.pieces), next(self.pieces)
        if isinstance(type_, Scalar):
            return self.scalar(type_, open_, close)
        assert isinstance(type_, Record)  # noqa: S101 - the only other hole
        compiled = self.enclosing[type_]

        def write(value: object) -> str:
            _check_kind(value, type_.carrier)
            fields = compiled[0]
            return _values_writer(fields.names, fields.writers, open_, close)(fields.values_of()(value))

        return write

    def scalar(self, type_: Scalar[Any], open_: str, close: str) -> Writer:
        encode = type_.encode
        if type_ in _PLAIN:
            return lambda value: f"{open_}{encode(value)}{close}"
        if type_ is STRING:
            return lambda value: f"{open_}{escape_text(value)}{close}"
        assert isinstance(type_, Enumeration)  # noqa: S101 - the only other scalars
        encode = reject_newer_values(self.version, type_)
        return lambda value: f"{open_}{escape_text(encode(value))}{close}"

    def record(self, type_: Record) -> Writer:
        compiled = self.enclosing[type_] = []
        fields = self.fields(type_.fields)
        compiled.append(fields)
        del self.enclosing[type_]
        carrier = type_.carrier
        values_of = fields.values_of()

        def write(value: Any) -> str:
            _check_kind(value, carrier)
            return fields.write(values_of(value))

        return write

    def array(self, type_: Array) -> Writer:
        head, write_item, tail = next(self.pieces), self.writer(type_.item), next(self.pieces)

        def write(value: object) -> str:
            parts = [head]
            index = 0
            items = as_list(value)
            try:
                for item in items:
                    parts.append(write_item(item))
                    index += 1
            except EncodeError as error:
                raise error.under(f"[{index}]") from None
            except ValueError as error:
                raise EncodeError(str(error), f"[{index}]") from None
            parts.append(tail)
            return "".join(parts)

        if type_.item is INT and fast.IS_ON:
            return fast.fast_int_list_writer(head, write_item, tail, write)
        return write

    def dictionary(self) -> Writer:
        head, open_pair, open_key, close_key, open_value = (next(self.pieces) for _ in range(5))
        close_value, nil, close_pair, tail = (next(self.pieces) for _ in range(4))
        open_pair += open_key

        def write(value: Any) -> str:
            if not issubclass(type(value), Mapping):
                raise ValueError(f"needs a mapping, got {type(value).__name__}")
            parts = [head]
            key: Any = ""
            try:
                for key, text in value.items():
                    element = nil if text is None else f"{open_value}{escape_text(text)}{close_value}"
                    parts.append(f"{open_pair}{escape_text(key)}{close_key}{element}{close_pair}")
            except ValueError as error:
                raise EncodeError(str(error), f"[{key!r}]") from None
            parts.append(tail)
            return "".join(parts)

        return write
