"""The test kit: an embedded NetServer, failures on purpose, and time under the control of the test.

    async def main() -> None:
        server = NetServer(clock=asyncio.get_running_loop().time)
        server.define_job("Export", duration=1800, output=b"...", file_name="export.csv")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http:
            async with Client("http://localhost", ticket=server.tickets.issue(), http_client=http) as client:
                job = await client.jobs.start("Export")
                await job.wait()

    run_virtual(main())     # half an hour of virtual time, in milliseconds

The server:
    NetServer          an ASGI app with users, tickets and tasks; see its attributes for what a test can look at
    Personality        which SOAP stack the server behaves like, given as NetServer(personality=)
    JobDefinition      what the tasks of a job do: duration, progress, outcome, output
    TaskStore          the tasks of a server, as server.tasks: add, start, read, find, update, stop, delete
    SessionStore       the users and tickets of a server, as server.tickets: add_user, issue, revoke, expires
    User               a user who can log in
    DEMO_USER          the user that every server has unless NetServer(users=) names others: demo, password demo
    serve              serves a server on a loopback socket; needs the extra soapbatch[demo]

Failures, for server.intercept(operation, interceptor, times=1):
    lost_request       drops the connection before the operation runs
    lost_reply         runs the operation, then drops the connection without an answer
    cut_reply          runs the operation, sends half of the answer, then drops the connection
    answering          sends an HTTP response of your own, such as answering(429, {"Retry-After": "3"})
    delayed            waits before the operation runs
    failing            raises an exception, such as a ServerException
    Interceptor        the type of an interceptor of your own: a coroutine function of a Call and a Proceed
    Call               a call that reached an operation; server.calls lists them
    Proceed            runs the operation and returns its Answer
    Answer             an HTTP response of the server
    ServerException    an exception inside NetServer, which the client gets as OperationFailed or Fault
    SessionRefused     the ServerException for a ticket that is missing, unknown or expired
    ConnectionDropped  raise it to drop the connection

SuperOffice Online, with the extra soapbatch[online]:
    Online             an ASGI app: a sign-in host, and tenants on hosts of their own, each with a NetServer
    OnlineTenant       a tenant, from online.add_tenant: its NetServer, its host, its state
    RegisteredApp      an app, from online.add_app: its client id, its client secret, its private key
    Visit              a request to one of the hosts, in online.journal: the host and the names of the secrets in it
    SigningKey         a key that JWTs are signed with; several tests can share one, because it takes long to make
    generate_private_key  makes a private key for an app
    ForwardingTransport   sends what is meant for any of the hosts to one socket: that of serve(online)

Time:
    run_virtual        runs a coroutine in a VirtualTimeLoop
    VirtualTimeLoop    an event loop in which waiting takes no time, and a test that would never end raises an error
    ManualClock        a clock that stands still until it is advanced
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
    Proceed as Proceed,
    answering as answering,
    cut_reply as cut_reply,
    delayed as delayed,
    failing as failing,
    lost_reply as lost_reply,
    lost_request as lost_request,
)
from soapbatch.testing.job_definitions import JobDefinition as JobDefinition
from soapbatch.testing.online import Online as Online
from soapbatch.testing.online_journal import Visit as Visit
from soapbatch.testing.online_keys import SigningKey as SigningKey, generate_private_key as generate_private_key
from soapbatch.testing.online_registry import OnlineTenant as OnlineTenant, RegisteredApp as RegisteredApp
from soapbatch.testing.requests import Personality as Personality
from soapbatch.testing.responses import Answer as Answer
from soapbatch.testing.server import NetServer as NetServer
from soapbatch.testing.serving import serve as serve
from soapbatch.testing.sessions import DEMO_USER as DEMO_USER, SessionStore as SessionStore, User as User
from soapbatch.testing.tasks import TaskStore as TaskStore
from soapbatch.transport import ForwardingTransport as ForwardingTransport
