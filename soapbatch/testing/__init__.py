"""The embedded NetServer, for tests: soapbatch's own and those of whoever uses it.

    server = NetServer(clock=clock)
    server.define_job("Export", duration=30, output=b"...", file_name="export.csv")
    ticket = server.tickets.issue()

In process, without a socket, hand the client an HTTP client that ends in the server:

    http = httpx.AsyncClient(transport=httpx.ASGITransport(server))

`run_virtual` then lets hours pass in milliseconds, with `NetServer(clock=asyncio.get_running_loop().time)`.
On a loopback socket, with the extra `soapbatch[demo]`:

    async with serve(server) as base_url: ...
"""

from soapbatch.testing.clock import (
    ManualClock as ManualClock,
    VirtualTimeLoop as VirtualTimeLoop,
    run_virtual as run_virtual,
)
from soapbatch.testing.faults import (
    ConnectionDropped as ConnectionDropped,
    ServerException as ServerException,
    SessionRefused as SessionRefused,
)
from soapbatch.testing.interceptors import (
    Call as Call,
    Interceptor as Interceptor,
    answering as answering,
    cut_reply as cut_reply,
    delayed as delayed,
    failing as failing,
    lost_reply as lost_reply,
    lost_request as lost_request,
)
from soapbatch.testing.job_definitions import JobDefinition as JobDefinition
from soapbatch.testing.requests import Personality as Personality
from soapbatch.testing.responses import Answer as Answer
from soapbatch.testing.server import NetServer as NetServer
from soapbatch.testing.serving import serve as serve
from soapbatch.testing.sessions import DEMO_USER as DEMO_USER, User as User
