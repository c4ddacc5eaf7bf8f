"""Recording exchanges in files and replaying them: what the files show, what they hide, and what finds its response."""

import asyncio
import gzip
from pathlib import Path

import httpx
import pytest

from soapbatch import AuthenticationFailed, Binding, Client, Generic, Marker, UsageError, UsernamePassword
from soapbatch.errors import ConnectionLost, HttpError, OperationFailed
from soapbatch.testing import NetServer, NotRecorded, Recorder, Replayer, ServerException, User, answering, failing
from tests.support.clients import names, virtual

BASE = "https://crm.example.com:8443/Cust12345"
SECRETS = {"s3cret & more": "password", "app-token-0123456789": "application token"}


def client(transport: httpx.AsyncBaseTransport, **options: object) -> Client:
    """Return a client with the secrets above."""
    settings: dict[str, object] = {
        "credentials": UsernamePassword("demo", "s3cret & more"),
        "application_token": "app-token-0123456789",
        "binding": Binding.SOAP11,
    }
    return Client(BASE, transport=transport, **(settings | options))  # type: ignore[arg-type]


def new_server() -> NetServer:
    """Return a server on which the job Export can be started."""
    server = NetServer(clock=lambda: 0.0, users=[User(name="demo", password="s3cret & more", associate_id=7)])
    server.define_job("Export", output=b"result")
    return server


async def use(service: Client) -> tuple[int, object, object]:
    """Log in, start a job with a marker, and read it twice."""
    job = await service.jobs.start("Export", description="nightly", marker=Marker.DESCRIPTION)
    reads = [await service.batch.get_batch_task_info(job.id) for _ in range(2)]
    assert reads[0] == reads[1]
    return job.id, reads[0] and reads[0].state, reads[0] and reads[0].name


@virtual
async def test_a_recording_is_replayed(tmp_path: Path) -> None:
    """The same calls get the same results without a server, although the marker of the start is another one."""
    folder = tmp_path / "nightly"
    async with client(Recorder(httpx.ASGITransport(new_server()), folder)) as service:
        recorded = await use(service)
    assert names(folder) == [
        "0001-AuthenticateUsernamePassword.http",
        "0002-StartBatchJob.http",
        "0003-GetBatchTaskInfo.http",
        "0004-GetBatchTaskInfo.http",
    ]
    replayer = Replayer(folder)
    async with client(replayer) as service:
        assert await use(service) == recorded
    assert replayer.unused() == []


def text_of(folder: Path) -> str:
    """Return what a recording holds."""
    return "".join(file.read_text(encoding="utf-8") for file in sorted(folder.iterdir()))


def record(folder: Path, response: httpx.Response, body: bytes = b"<a/>", url: str = f"{BASE}/Remote/x") -> str:
    """Record one exchange and return the text of its file."""

    async def main() -> None:
        transport = Recorder(httpx.MockTransport(lambda _: response), folder)
        async with httpx.AsyncClient(transport=transport) as http:
            received = await http.post(url, content=body)
            assert received.content == response.content
            assert received.status_code == response.status_code

    asyncio.run(main())
    (file,) = folder.iterdir()
    return file.read_text(encoding="utf-8")


async def test_secrets_and_the_host_reach_no_file(tmp_path: Path) -> None:
    """Password, application token and ticket are masked, wherever they stand; the host and the tenant are replaced."""
    server = new_server()
    echo = ServerException("SuperOffice.Exceptions.SoException", "no: s3cret & more at CRM.example.com:8443")
    server.intercept("GetBatchTaskInfo", failing(echo))
    async with client(Recorder(httpx.ASGITransport(server), tmp_path)) as service:
        ticket = (await service.ticket()).value.reveal()
        with pytest.raises(OperationFailed):
            await service.batch.get_batch_task_info(1)
        await service.principal.get_system_info()
    written = text_of(tmp_path)
    assert ticket.startswith("7T:")
    for secret in (*SECRETS, "s3cret &amp; more", ticket):
        assert secret not in written
    assert "crm.example.com" not in written.lower()
    assert "Cust12345/Remote" not in written
    assert "Host: netserver.invalid" in written
    assert "POST /Remote/Services88/Batch.svc" in written


async def test_the_values_of_a_generic_login_are_secrets(tmp_path: Path) -> None:
    """They are masked wherever the server repeats them; short ones are only masked where they stand as values."""
    server = new_server()
    server.intercept("AuthenticateGeneric", failing(ServerException("a.b", "no: pin-90210, or 1")))
    credentials = Generic({"pin": "pin-90210", "slot": "1"})
    async with client(Recorder(httpx.ASGITransport(server), tmp_path), credentials=credentials) as service:
        with pytest.raises(AuthenticationFailed):
            await service.ticket()
    assert "<Message>no: ***, or 1</Message>" in text_of(tmp_path)
    assert "<Value>***</Value>" in text_of(tmp_path)


def test_a_file_is_readable(tmp_path: Path) -> None:
    """One file an exchange: the request, a line of dashes, the response; only the headers that matter."""
    headers = {"Content-Type": "text/xml; charset=utf-8", "Retry-After": "3", "Set-Cookie": "id=secret", "Server": "x"}
    text = record(tmp_path, httpx.Response(503, headers=headers, content=b"<busy/>"), b"<start/>")
    assert text.splitlines() == [
        "POST /Cust12345/Remote/x",
        "Host: netserver.invalid",
        "",
        "<start/>",
        "--------------------",
        "HTTP/1.1 503",
        "Content-Type: text/xml; charset=utf-8",
        "Retry-After: 3",
        "",
        "<busy/>",
    ]


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        ('<?xml version="1.0" encoding="utf-16"?><a>Bjørn 7T:abc</a>'.encode("utf-16"), "utf-16"),
        ('<?xml version="1.0" encoding="utf-16"?><a>Bjørn 7T:abc</a>'.encode("utf-16-le"), "utf-16"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><a>Bjørn 7T:abc</a>'.encode("latin-1"), "iso-8859-1"),
        ("\ufeff<?xml version='1.0' encoding='UTF-8'?><a>Bjørn 7T:abc</a>".encode(), "utf-8"),
    ],
    ids=["UTF-16 with a mark", "UTF-16 without", "ISO 8859-1", "UTF-8 with a mark"],
)
def test_every_encoding_becomes_utf_8(tmp_path: Path, content: bytes, charset: str) -> None:
    """The file, its XML declaration and its Content-Type say UTF-8, and secrets are masked in every encoding."""
    headers = {"Content-Type": f"text/xml; charset={charset}"}
    text = record(tmp_path, httpx.Response(200, headers=headers, content=content))
    assert "<a>Bjørn ***</a>" in text
    assert "charset=utf-8" in text
    assert "encoding=" in text
    assert "utf-16" not in text.lower()
    assert "8859" not in text


def test_a_compressed_response_is_readable(tmp_path: Path) -> None:
    """The file has the text, and the caller gets it too."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/xml"}
    response = httpx.Response(200, headers=headers, stream=httpx.ByteStream(gzip.compress(b"<a>text</a>")))

    async def main() -> bytes:
        transport = Recorder(httpx.MockTransport(lambda _: response), tmp_path)
        async with httpx.AsyncClient(transport=transport) as http:
            return (await http.post(BASE, content=b"<a/>")).content

    assert asyncio.run(main()) == b"<a>text</a>"
    (file,) = tmp_path.iterdir()
    assert file.name == "0001-request.http"
    assert "<a>text</a>" in file.read_text(encoding="utf-8")


async def test_further_secrets_can_be_named(tmp_path: Path) -> None:
    """`secrets=` masks what the library cannot know."""
    server = new_server()
    async with client(Recorder(httpx.ASGITransport(server), tmp_path, secrets=["Example Company"])) as service:
        await service.principal.get_system_info()
    assert "<CompanyName>***</CompanyName>" in text_of(tmp_path)


async def test_a_new_recording_replaces_the_old_one(tmp_path: Path) -> None:
    """Files of the old recording are deleted; other files stay."""
    (tmp_path / "notes.txt").write_text("mine")
    for number in (2, 1):
        async with client(
            Recorder(httpx.ASGITransport(new_server()), tmp_path), ticket="7T:x", credentials=None
        ) as service:
            for _ in range(number):
                await service.principal.get_system_info()
    assert names(tmp_path) == ["0001-GetSystemInfo.http", "notes.txt"]


async def test_what_was_not_recorded_fails(tmp_path: Path) -> None:
    """The error shows the nearest recorded request, and where it differs; the client raises it as it is."""
    async with client(
        Recorder(httpx.ASGITransport(new_server()), tmp_path), ticket="7T:x", credentials=None
    ) as service:
        with pytest.raises(OperationFailed):
            await service.batch.stop_batch_job(41)
        await service.principal.get_system_info()
    async with client(Replayer(tmp_path), ticket="7T:y", credentials=None) as service:
        with pytest.raises(NotRecorded) as caught:
            await service.batch.stop_batch_job(42)
    message = str(caught.value)
    assert message.startswith(f"StopBatchJob was not recorded like this in {tmp_path}.")
    assert "The nearest request there, StopBatchJob, differs so:\n--- recorded\n+++ sent\n" in message
    assert "\n-<Id>41</Id>\n+<Id>42</Id>\n" in message
    assert "7T:y" not in message


async def test_a_change_is_replayed_as_often_as_it_was_recorded(tmp_path: Path) -> None:
    """A read may be repeated, and gets its last response; a start may not."""
    async with client(
        Recorder(httpx.ASGITransport(new_server()), tmp_path), ticket="7T:x", credentials=None
    ) as service:
        with pytest.raises(OperationFailed):
            await service.jobs.start("Export")
        await service.principal.get_system_info()
    replayer = Replayer(tmp_path)
    async with client(replayer, ticket="7T:x", credentials=None) as service:
        for _ in range(3):
            await service.principal.get_system_info()
        assert replayer.unused() == ["StartBatchJob"]
        with pytest.raises(OperationFailed):
            await service.jobs.start("Export")
        with pytest.raises(NotRecorded, match=r"StartBatchJob was recorded .* it was called\s+more often"):
            await service.jobs.start("Export")


async def test_errors_of_http_are_replayed_and_lost_answers_are_not(tmp_path: Path) -> None:
    """A status and its headers are part of a recording; a request without an answer is none."""
    server = new_server()
    server.script("GetSystemInfo", [answering(404, {"Content-Type": "text/html"}, b"<h1>gone</h1>")])
    async with client(Recorder(httpx.ASGITransport(server), tmp_path), ticket="7T:x", credentials=None) as service:
        with pytest.raises(HttpError, match="404"):
            await service.principal.get_system_info()
    assert names(tmp_path) == ["0001-GetSystemInfo.http"]
    async with client(Replayer(tmp_path), ticket="7T:x", credentials=None) as service:
        with pytest.raises(HttpError, match="404"):
            await service.principal.get_system_info()

    def broken(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broken")

    async with client(Recorder(httpx.MockTransport(broken), tmp_path), ticket="7T:x", credentials=None) as service:
        with pytest.raises(ConnectionLost):
            await service.batch.stop_batch_job(1)
    assert names(tmp_path) == []


def test_a_folder_without_a_recording_is_an_error(tmp_path: Path) -> None:
    """The error says how to make a recording; a file that is none is named."""
    with pytest.raises(UsageError, match="make one with Recorder, or with --netserver-record=once"):
        Replayer(tmp_path)
    (tmp_path / "0001-GetSystemInfo.http").write_text("POST /x\n\n<a/>")
    with pytest.raises(UsageError, match="is no recorded exchange: it has no line of 20 dashes"):
        Replayer(tmp_path)


def test_ten_thousand_exchanges_keep_their_order(tmp_path: Path) -> None:
    """Files are ordered by their number, however long it is."""
    for number in (9999, 10000, 1):
        (tmp_path / f"{number:04}-GetSystemInfo.http").write_text(
            f"POST /{number}\n\n" + "\n" + "-" * 20 + "\nHTTP/1.1 200\n\n"
        )
    assert [exchange.request.strip() for exchange in Replayer(tmp_path)._exchanges] == [
        "POST /1",
        "POST /9999",
        "POST /10000",
    ]
