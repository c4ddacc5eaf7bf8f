"""The test kit: an embedded NetServer, failures on purpose, and time under the control of the test.

    async def main() -> None:
        server = NetServer(clock=asyncio.get_running_loop().time)
        server.define_job("Export", duration=1800, output=b"...", file_name="export.csv")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http:
            async with Client("http://localhost", ticket=server.tickets.issue(), http_client=http) as client:
                job = await client.jobs.start("Export")
                await job.wait()

    run_virtual(main())     # half an hour of virtual time, in milliseconds

`python -m pydoc soapbatch.guide.testing` is the guide: ten complete tests of a service. soapbatch.testing.plugin has
the fixtures for pytest, and `soapbatch serve --help` is about tests in other languages.

The server, and what it is made of:

    NetServer          an ASGI app with users, tickets and tasks; see its attributes for what a test can look at, and
                       its methods calls_of, assert_called_once and assert_not_called for what it should have seen
    Personality        which SOAP stack the server behaves like, given as NetServer(personality=)
    JobDefinition      what the tasks of a job do: duration, progress, outcome, output
    TaskStore          the tasks of a server, as server.tasks: add, start, read, find, update, stop, delete
    SessionStore       the users and tickets of a server, as server.tickets: add_user, issue, revoke, expires
    User               a user who can log in
    DEMO_USER          the user that every server has unless NetServer(users=) names others: demo, password demo
    serve              serves a server on a loopback socket; needs the extra soapbatch[testing]
    serve_in_thread    the same in a thread of its own, for programs without an event loop
    Control            an ASGI app around a server, with the control API of `soapbatch serve --control`
    DrivenClock        the clock of that server: runs at a speed, and can be advanced

Failures, for server.intercept(operation, interceptor, times=1) and server.script(operation, [interceptor, None, ...]):

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

Time, under the control of the test:

    run_virtual        runs a coroutine in a VirtualTimeLoop: client and server share one clock, and waiting is free
    VirtualTimeLoop    an event loop in which waiting takes no time, and a test that would never end raises an error
    ManualClock        a clock for NetServer(clock=) that stands still until it is advanced; a wait for a job that
                       nobody advances it for fails after five seconds

Recordings of a real server, and the network:

    Recorder           an httpx transport that writes each exchange to a file, secrets masked
    Replayer           an httpx transport that answers from such files
    NotRecorded        the error for a request that was not recorded
    block_network      refuses every connection that leaves this machine
    NetworkBlocked     the error of whoever tried
"""

from soapbatch._lazy import lazy_names

# The pytest plugin is a module of this package: pytest imports this file at every start, also in projects without SOAP.
__getattr__, __dir__ = lazy_names(__name__, __file__)
