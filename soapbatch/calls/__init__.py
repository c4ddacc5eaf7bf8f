"""One call's life: typed methods (`agents`), then deadline, ticket, binding, retries and observation."""

from soapbatch.calls.agents import (
    BatchAgent as BatchAgent,
    BlobAgent as BlobAgent,
    PrincipalAgent as PrincipalAgent,
    check_target as check_target,
)
from soapbatch.calls.call import CallContext as CallContext
from soapbatch.calls.hooks import Hooks as Hooks, RequestEvent as RequestEvent, ResponseEvent as ResponseEvent
from soapbatch.calls.location import Location as Location
from soapbatch.calls.logs import WIRE as WIRE
from soapbatch.calls.rate import RateLimit as RateLimit
from soapbatch.calls.settings import CallOptions as CallOptions, Settings as Settings
