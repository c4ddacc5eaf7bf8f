"""What the caller may say of every call of a client, and of a single call."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypedDict

import attrs

from soapbatch.auth import SecretSource
from soapbatch.calls.hooks import Hooks
from soapbatch.calls.location import Location
from soapbatch.calls.rate import RateLimit
from soapbatch.errors import AccessDenied, Fault, OperationFailed, SoapBatchError
from soapbatch.model import Binding, Limits, ReplyHeader, Retries, Secret, ServiceVersion, SoTimeZone
from soapbatch.soap import UnknownCallback


@attrs.frozen(kw_only=True)
class Settings:
    """What is the same for every call of a client; `Client` documents each.

    `base_url` is where requests go, unless `location` says where: then it is what names the server for people.
    """

    base_url: str
    location: Location | None
    path_prefix: str
    version: ServiceVersion
    binding: Binding | None
    application_token: Secret | SecretSource | None
    max_rate: RateLimit | None
    time_zone: SoTimeZone | None
    timeout: float | None
    limits: Limits
    retries: Retries
    hooks: Hooks
    on_unknown: UnknownCallback
    session_errors: frozenset[str]
    allow_insecure: bool

    def refuses_ticket(self, error: SoapBatchError) -> bool:
        """Return whether `error` says that the ticket is unknown or has expired, so that nothing was applied."""
        if isinstance(error, AccessDenied):
            return error.status == HTTPStatus.UNAUTHORIZED
        return isinstance(error, OperationFailed | Fault) and error.error_type in self.session_errors


class CallOptions(TypedDict, total=False):
    """What may be said of a single call, as keyword arguments behind the operation's own.

    Attributes:
        timeout: seconds for the whole call, instead of the client's; None: no limit.
        on_header: called with the header blocks of a successful reply.
        renew: False: HTTP 401 is raised, and the call is not sent again with a new ticket. The next call has one.
            NetServer's own refusal of a ticket is renewed all the same: it decides before it runs the operation.
    """

    timeout: float | None
    on_header: Callable[[ReplyHeader], None]
    renew: bool
