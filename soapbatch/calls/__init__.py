"""One call's life: typed methods (`agents`), then deadline, ticket, binding, retries and observation."""

from soapbatch.calls.agents import (
    BatchAgent as BatchAgent,
    BlobAgent as BlobAgent,
    PrincipalAgent as PrincipalAgent,
    check_target as check_target,
)
from soapbatch.calls.call import CallContext as CallContext
from soapbatch.calls.hooks import (
    CallEndEvent as CallEndEvent,
    CallEvent as CallEvent,
    CallScope as CallScope,
    Hooks as Hooks,
    JobEvent as JobEvent,
    JobEventKind as JobEventKind,
    JobHook as JobHook,
    RequestEvent as RequestEvent,
    RequestScope as RequestScope,
    ResponseEvent as ResponseEvent,
    tell as tell,
)
from soapbatch.calls.location import Location as Location
from soapbatch.calls.rate import RateLimit as RateLimit
from soapbatch.calls.settings import CallOptions as CallOptions, Settings as Settings
