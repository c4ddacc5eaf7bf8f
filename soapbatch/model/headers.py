"""The header blocks of requests and responses: tokens, tickets, the time zone, and why an operation failed.

As in `batch`, every class is frozen, slotted and keyword-only, and every field defaults to None.

Source: the Services75 to Services88 WSDLs; meanings from the published documentation pages.
"""

from collections.abc import Mapping

import attrs

from soapbatch.model.schema import ITSELF, Carrier, Dictionary, Record, element
from soapbatch.model.secret import Secret
from soapbatch.model.xsd import BOOLEAN, INT, STRING


@attrs.frozen(kw_only=True)
class SoTimeZone(Carrier):
    """The header block `TimeZone`: the zone of times that name none."""

    so_time_zone_id: int | None = element("SoTimeZoneId", INT)
    so_time_zone_location_code: str | None = element("SoTimeZoneLocationCode", STRING)
    """For example `Europe/Oslo`."""


TIME_ZONE = Record("SoTimeZone", SoTimeZone)


@attrs.frozen(kw_only=True)
class SoCredentials(Carrier):
    """A ticket: a header block of a request, or part of the response of an Authenticate operation."""

    ticket: Secret | str | None = element("Ticket", STRING, secret=True)
    """`7T:` and base64; or, from Services86 on, an OAuth access token. Masked in repr."""


CREDENTIALS = Record("SoCredentials", SoCredentials)


@attrs.frozen(kw_only=True)
class ExceptionInfo(Carrier):
    """NetServer's description of a failure: a response's header block `ExceptionInfo`, or the detail of a fault."""

    message: str | None = element("Message", STRING)
    stack_trace: str | None = element("StackTrace", STRING)
    friendly_text: str | None = element("FriendlyText", STRING)
    """A message for the user."""
    exception_type: str | None = element("ExceptionType", STRING)
    """The full .NET name, for example `SuperOffice.Exceptions.SoSessionException`."""
    source: str | None = element("Source", STRING)
    inner_exception: "ExceptionInfo | None" = element("InnerException", ITSELF)
    parameters: Mapping[str, str | None] | None = element(
        "Parameters", Dictionary("SoExceptionInfoParameters", "SoExceptionInfoParametersKeyValuePair")
    )

    @property
    def error_type(self) -> str | None:
        """The last dotted part of `exception_type`, for example `SoSessionException`. Match on this."""
        return self.exception_type.rpartition(".")[2] if self.exception_type else None


EXCEPTION_INFO = Record("SoExceptionInfo", ExceptionInfo)


@attrs.frozen(kw_only=True)
class RequestHeader(Carrier):
    """The header blocks of a request. A block that is None is not sent."""

    application_token: Secret | str | None = element("ApplicationToken", STRING, secret=True)
    """The app's client secret: required by SuperOffice Online, unchecked on-site."""
    credentials: SoCredentials | None = element("Credentials", CREDENTIALS)
    time_zone: SoTimeZone | None = element("TimeZone", TIME_ZONE)


@attrs.frozen(kw_only=True)
class ReplyHeader(Carrier):
    """The header blocks of a response. A nil or absent block is None."""

    exception_info: ExceptionInfo | None = element("ExceptionInfo", EXCEPTION_INFO)
    """Why the operation failed."""
    extra_info: Mapping[str, str | None] | None = element(
        "ExtraInfo", Dictionary("SoExtraInfo", "ExtraInfoNameValuePair")
    )
    succeeded: bool | None = element("Succeeded", BOOLEAN)
    """False: the operation failed, even if the HTTP status and the body look like success."""
    time_zone: SoTimeZone | None = element("TimeZone", TIME_ZONE)


REQUEST_HEADER = Record("RequestHeader", RequestHeader)
REPLY_HEADER = Record("ReplyHeader", ReplyHeader)
