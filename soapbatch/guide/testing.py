r"""How to test a service that starts batch jobs: ten complete tests, and one for SuperOffice Online.

Install `pip install "soapbatch[testing]" pytest`. pytest finds the fixtures by itself. They are:

    netserver                  an embedded NetServer on a loopback socket, in a thread of its own
    netserver_url              its base URL, for a service that makes its own client
    netserver_client           makes clients of it
    netserver_clock            its clock, which stands still until the test advances it
    netserver_recording        makes transports that record a real server, or replay what was recorded
    netserver_block_network    refuses every connection that leaves this machine

And for SuperOffice Online, with `pip install "soapbatch[testing,online]"`:

    superoffice_online         an embedded Online: sign-in host, tenants, and the host of each
    superoffice_online_url     the URL of the socket that is all of its hosts
    superoffice_online_client  makes clients of a tenant, signed in as the app's system user
    superoffice_online_app     makes the `OnlineApp`, for services with many tenants
    superoffice_online_clock   its clock, which stands still until the test advances it

The marker `@pytest.mark.netserver(...)` configures the server: `python -m pydoc soapbatch.testing.plugin`. What the
server can do, and how it can fail: `python -m pydoc soapbatch.testing`.

The tests below are `async def`. They run with pytest-asyncio (setting `asyncio_mode = "auto"`) and with anyio (setting
`anyio_mode = "auto"`) alike. Tests without an event loop use the same fixtures.

Each test is a file as it stands. The functions at its top are the service that is tested.


1. Start a job and wait for it
------------------------------

The server's clock runs 1,000 times as fast as the real one. A job takes at least 2 seconds on a real server, and on
this one, until it begins.

    import pytest

    from soapbatch import Client, Polling

    POLLING = Polling(first=0.05, floor=0.05)  # in production: Polling()


    async def export(client: Client) -> bytes | None:
        job = await client.jobs.start("Export", description="nightly")
        await job.wait(polling=POLLING)
        return await job.output()


    @pytest.mark.netserver(speed=1000, jobs={"Export": {"duration": 60, "output": "id;name"}})
    async def test_export(netserver, netserver_client):
        async with netserver_client() as client:
            assert await export(client) == b"id;name"
        netserver.assert_called_once("StartBatchJob", name="Export", description="nightly")


2. The job fails
----------------

    import pytest

    from soapbatch import Client, JobFailed, Polling

    POLLING = Polling(first=0.05, floor=0.05)


    async def export_or_reason(client: Client) -> str:
        job = await client.jobs.start("Export")
        try:
            await job.wait(polling=POLLING)
        except JobFailed as error:
            return f"the export failed: {error.info.result}"
        return "done"


    @pytest.mark.netserver(speed=1000, jobs={"Export": {"outcome": "Failed", "result": "There is no such archive"}})
    async def test_the_reason_is_shown(netserver_client):
        async with netserver_client() as client:
            assert await export_or_reason(client) == "the export failed: There is no such archive"


3. The server is busy
---------------------

Reads are repeated by the client. A script says what becomes of each call: here the first two are refused, and the
third one runs. The test fails at its end if a step was not reached.

    from soapbatch import Client
    from soapbatch.testing import answering


    async def is_known(client: Client, task_id: int) -> bool:
        return await client.batch.get_batch_task_info(task_id) is not None


    async def test_a_busy_server_is_asked_again(netserver, netserver_client):
        busy = answering(503, {"Retry-After": "0.1"})
        netserver.script("GetBatchTaskInfo", [busy, busy, None])
        async with netserver_client() as client:
            assert not await is_known(client, 42)
        assert len(netserver.calls_of("GetBatchTaskInfo", id=42)) == 3


4. The answer to a start is lost
--------------------------------

The job was started, and the answer with its number never arrived. A marker lets the client find the job, so that it
is not started twice.

    import pytest

    from soapbatch import Client, Marker
    from soapbatch.testing import lost_reply


    async def start_once(client: Client) -> int:
        job = await client.jobs.start("Export", marker=Marker.DESCRIPTION)
        return job.id


    @pytest.mark.netserver(jobs={"Export": {}})
    async def test_a_lost_answer_starts_nothing_twice(netserver, netserver_client):
        netserver.intercept("StartBatchJob", lost_reply)
        async with netserver_client() as client:
            task_id = await start_once(client)
        assert netserver.tasks.read(task_id).name == "Export"
        netserver.assert_called_once("StartBatchJob", name="Export")


5. The ticket expires
---------------------

    from soapbatch import Client


    async def company(client: Client) -> str | None:
        await client.batch.get_batch_task_info(1)
        return (await client.principal.get_system_info()).company_name


    async def test_an_expired_ticket_is_renewed(netserver, netserver_client):
        async with netserver_client() as client:
            await company(client)
            netserver.tickets.revoke_all()
            assert await company(client) == "Example Company"
        assert netserver.tickets.logins == 2
        assert [call.outcome for call in netserver.calls_of("GetBatchTaskInfo")] == [
            "succeeded",
            "SoSessionException",
            "succeeded",
        ]


6. A job that takes all night, in virtual time
----------------------------------------------

`run_virtual` runs a coroutine in an event loop in which waiting takes no time. Client and server share the loop's
clock, and no socket is used. A test that would never end raises an error that says where each task waits.

    import asyncio

    import httpx

    from soapbatch import Client
    from soapbatch.testing import NetServer, run_virtual

    HOUR = 3600


    async def hours_of(client: Client) -> float:
        begun = asyncio.get_running_loop().time()
        job = await client.jobs.start("Nightly")
        await job.wait(timeout=12 * HOUR)
        return (asyncio.get_running_loop().time() - begun) / HOUR


    def test_a_night_passes_at_once():
        async def main():
            server = NetServer(clock=asyncio.get_running_loop().time)
            server.define_job("Nightly", duration=8 * HOUR)
            transport = httpx.ASGITransport(server)
            async with Client("http://test", ticket=server.tickets.issue(), transport=transport) as client:
                return await hours_of(client)

        assert 8 <= run_virtual(main()) < 8.1


7. The output of a job, streamed by an endpoint of FastAPI
----------------------------------------------------------

    import httpx
    import pytest

    from soapbatch import BatchTaskInfo, BatchTaskState

    fastapi = pytest.importorskip("fastapi")
    responses = pytest.importorskip("fastapi.responses")


    def service(client) -> "fastapi.FastAPI":
        app = fastapi.FastAPI()

        @app.get("/exports/{task_id}")
        async def export(task_id: int):
            return responses.StreamingResponse(client.blob.stream_output(task_id), media_type="text/csv")

        return app


    async def test_the_endpoint_streams_the_output(netserver, netserver_client):
        def pieces():
            for number in range(20_000):
                yield b"%d;name\n" % number

        task = BatchTaskInfo(name="Export", state=BatchTaskState.SUCCEEDED)
        task_id = netserver.tasks.add(task, output=pieces)
        async with netserver_client() as client:
            transport = httpx.ASGITransport(service(client))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                answer = await http.get(f"/exports/{task_id}")
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.content == b"".join(pieces())


8. Cancellation
---------------

The block stops the job when the service is cancelled, and the cancellation waits for that. Here time stands still on
the server, so that the job is still running when it is cancelled.

    import asyncio

    import pytest

    from soapbatch import Client


    async def export(client: Client) -> None:
        async with client.jobs.run("Export") as job:
            await job.wait()


    @pytest.mark.netserver(jobs={"Export": {"duration": 3600}})
    async def test_a_cancelled_export_is_stopped(netserver, netserver_client, netserver_clock):
        async with netserver_client() as client:
            exporting = asyncio.create_task(export(client))
            while not netserver.calls_of("StartBatchJob", name="Export"):
                await asyncio.sleep(0.01)
            netserver_clock.advance(60)
            exporting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await exporting
        netserver.assert_called_once("StopBatchJob", id=1)
        assert netserver.tasks.read(1).state == "Failed"


9. Many tenants
---------------

Each tenant has a NetServer of its own, in the same process. No request may reach the server of another tenant, and
none the network.

    import asyncio

    import httpx

    from soapbatch import Client
    from soapbatch.testing import NetServer, User

    TENANTS = [f"Cust{number}" for number in range(1, 6)]


    async def start_everywhere(clients: dict[str, Client]) -> dict[str, int]:
        starts = [client.jobs.start("Export", description=name) for name, client in clients.items()]
        jobs = await asyncio.gather(*starts)
        return {name: job.id for name, job in zip(clients, jobs)}


    async def test_tenants_do_not_meet(netserver_block_network):
        servers = {name: NetServer(users=[User(name=name, password="x", associate_id=1)]) for name in TENANTS}
        clients = {}
        for name, server in servers.items():
            server.define_job("Export")
            transport = httpx.ASGITransport(server)
            clients[name] = Client(f"http://test/{name}", ticket=server.tickets.issue(), transport=transport)
        try:
            assert await start_everywhere(clients) == dict.fromkeys(TENANTS, 1)
        finally:
            for client in clients.values():
                await client.aclose()
        for name, server in servers.items():
            server.assert_called_once("StartBatchJob")
            server.assert_called_once("StartBatchJob", description=name)


10. Replay of a recording
-------------------------

A recording is a folder with one readable file an exchange; secrets are masked and the host is replaced before a file
is written. `pytest --netserver-record=once` records where there is no recording yet, through the client's own
connections to the real server; without the option, `netserver_recording` replays. Here an embedded server stands for
the real one, so that the test is complete.

    import httpx

    from soapbatch import Client
    from soapbatch.testing import NetServer, Recorder


    async def company(client: Client) -> str | None:
        return (await client.principal.get_system_info()).company_name


    async def record(folder) -> None:
        transport = Recorder(httpx.ASGITransport(NetServer()), folder)
        async with Client("https://crm.example.com", application_token="a secret", transport=transport) as client:
            await company(client)


    async def test_a_recording_is_replayed(netserver_recording, netserver_block_network, tmp_path):
        await record(tmp_path)  # with a real server: once, by --netserver-record=once
        transport = netserver_recording(tmp_path)
        async with Client("https://crm.example.com", application_token="another", transport=transport) as client:
            assert await company(client) == "Example Company"
        (file,) = tmp_path.iterdir()
        assert "a secret" not in file.read_text()
        assert "crm.example.com" not in file.read_text()


SuperOffice Online
------------------

The embedded Online has an app and a tenant that has approved it; `@pytest.mark.superoffice_online(tenants=...)` names
others. Each tenant has a NetServer of its own, `tenant.server`, with everything that is shown above. Here a tenant
moves to another host between two calls of the service, and the journal says which hosts were sent which secrets.

    import pytest

    from soapbatch import Client


    async def start_and_find(client: Client, move) -> bool:
        job = await client.jobs.start("Export", description="nightly")
        move()
        return await client.batch.get_batch_task_info(job.id) is not None


    @pytest.mark.superoffice_online(tenants=["Cust1"], jobs={"Export": {}})
    async def test_a_tenant_moves(superoffice_online, superoffice_online_client):
        def move():
            superoffice_online.move("Cust1", "sod3.superoffice.com")

        async with superoffice_online_client("Cust1") as client:
            assert await start_and_find(client, move)
        superoffice_online.tenant("Cust1").server.assert_called_once("StartBatchJob", name="Export")
        hosts = [visit.host for visit in superoffice_online.journal if visit.endpoint == "tenant"]
        assert hosts[0] == "sod2.superoffice.com"
        assert hosts[-1] == "sod3.superoffice.com"
        for visit in superoffice_online.journal:
            assert visit.host == "sod.superoffice.com" or "system token of My App for Cust1" not in visit.secrets


More
----

A wait under a clock that nobody advances does not hang: after five seconds the server answers with an error that says
so. Every failure can take each form of a real server: `@pytest.mark.netserver(failures="fault")`, or `"401"`; and the
server can write as other SOAP stacks do: `personality="mono"`, `"jaxws"`, `"node_soap"`, `"gsoap"`, `"spyne"`.

In other languages, `soapbatch serve --control` is the same server as a process: `soapbatch serve --help`.
"""
