"""`soapbatch login` and `logout`, where passwords come from, and the ticket that all invocations share."""

import json
import stat
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soapbatch import Client, Secret, Ticket
from soapbatch.cli import connecting, passwords
from soapbatch.cli.passwords import printed_by
from tests.cli.conftest import ADA, PASSWORD, Done, World


class FakeKeyring(types.ModuleType):
    """Stands for the library of that name."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        """Return a password."""
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        """Keep a password."""
        self.kept[service, name] = password

    def delete_password(self, service: str, name: str) -> None:
        """Forget a password; KeyError: there is none."""
        del self.kept[service, name]


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> FakeKeyring:
    """A keyring that works."""
    fake = FakeKeyring()
    monkeypatch.setitem(sys.modules, "keyring", fake)
    return fake


@pytest.fixture
def no_password(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose environment names no password."""
    monkeypatch.delenv("SOAPBATCH_PASSWORD")
    return world


def test_twenty_commands_cost_one_login(world: World) -> None:
    """The ticket is shared by all invocations: in a file that its owner alone may read."""
    world.start("EndlessBatchPlugin")
    for _ in range(10):
        assert world.run("list", "-o", "ids").out == "1\n"
        assert world.run("show", 1, "-o", "ids").out == "1\n"
    assert world.server.tickets.attempts == 1
    files = [path for path in (world.home / "state").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700


def test_a_ticket_that_the_server_has_forgotten(world: World) -> None:
    """The command logs in again, once."""
    world.run("list")
    world.server.tickets.revoke_all()
    assert world.run("list").status == 0
    assert world.server.tickets.attempts == 2


def test_login_writes_url_and_user(no_password: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given as options is in the profile afterwards, so that it need not be given again; no secret is."""
    world = no_password
    monkeypatch.delenv("SOAPBATCH_URL")
    monkeypatch.delenv("SOAPBATCH_USER")
    done = world.run("login", "--url", world.url, "--user", "ada", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (done.status, done.out) == (0, "")
    assert "logged in to" in done.err
    assert "Ada Lovelace; the ticket lasts 6h" in done.err
    assert world.config.read_text(encoding="utf-8") == f'[profile.default]\nurl = "{world.url}"\nuser = "ada"\n'
    assert stat.S_IMODE(world.config.stat().st_mode) == 0o600
    assert world.run("list").status == 0
    assert world.server.tickets.attempts == 1


def test_login_in_json(world: World) -> None:
    """JSON says who, until when and where, and nothing secret."""
    done = world.run("login", "-o", "json")
    found = json.loads(done.out)
    assert (found["user"], found["associate_id"], found["full_name"]) == ("ada", 7, "Ada Lovelace")
    assert Path(found["file"]).is_file()
    assert "7T:" not in done.out + done.err
    assert PASSWORD not in done.out + done.err


def test_login_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password: exit status 5, and no ticket is kept; an exception of the server likewise."""
    monkeypatch.setenv("SOAPBATCH_PASSWORD", "wrong password")
    done = world.run("login")
    assert done.status == 5
    assert "'ada'" in done.err
    assert "wrong password" not in done.err
    world.server.tickets.refuse_logins = "exception"
    assert world.run("list").status == 5


def test_logout(world: World) -> None:
    """The ticket is gone from this machine; a second time there is none."""
    world.run("login")
    assert "forgotten" in world.run("logout").err
    assert json.loads(world.run("logout", "-o", "json").out)["was_logged_in"] is False
    assert "there was no ticket" in world.run("logout").err
    assert not any(path.is_file() for path in (world.home / "state").rglob("*"))


def test_a_ticket_from_outside(no_password: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOAPBATCH_TICKET is used as it is: nobody logs in, and nothing is kept."""
    world = no_password
    monkeypatch.setenv("SOAPBATCH_TICKET", world.server.tickets.issue(ADA))
    assert world.run("list").status == 0
    assert world.run("login").status == 2
    assert world.server.tickets.attempts == 0
    assert not (world.home / "state").exists()


def test_nobody_knows_the_password(no_password: World) -> None:
    """Without a terminal the error says where a password may come from."""
    done = no_password.run("list")
    assert done.status == 2
    assert "--password-stdin" in done.err
    assert no_password.server.requests == 0


def test_the_question_for_the_password(
    no_password: World, terminal: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the password is asked for, once, and not while a call's time runs."""
    prompts: list[str] = []

    def getpass(prompt: str, stream: object) -> str:
        assert stream is sys.stderr
        prompts.append(prompt)
        return PASSWORD

    monkeypatch.setattr("getpass.getpass", getpass)
    assert terminal("list", "-o", "ids").status == 0
    assert prompts == [f"password of ada at {no_password.url}: "]
    assert terminal("list", "-o", "ids").status == 0
    assert len(prompts) == 1


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_password_file(no_password: World, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """SOAPBATCH_PASSWORD_FILE is read; a line break at its end is no part of the password."""
    file = no_password.home / "password"
    file.write_bytes(f"{PASSWORD}{ending}".encode())
    monkeypatch.setenv("SOAPBATCH_PASSWORD_FILE", str(file))
    assert no_password.run("list").status == 0
    monkeypatch.setenv("SOAPBATCH_PASSWORD_FILE", str(no_password.home))
    no_password.run("logout")
    assert "SOAPBATCH_PASSWORD_FILE cannot be read" in no_password.run("list").err


def test_a_password_command(no_password: World) -> None:
    """password_command of the profile prints the password; the file holds the command alone."""
    words = f"{sys.executable} -c 'print(\"{PASSWORD}\")'"
    assert no_password.run("config", "set", "password_command", words).status == 0
    assert no_password.run("list").status == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["soapbatch-no-such-command"], "cannot be run"),
        ([sys.executable, "-c", "import sys; print('half'); sys.exit(3)"], "status 3"),
        ([sys.executable, "-c", ""], "status 0"),
    ],
)
def test_a_password_command_that_fails(command: list[str], words: str) -> None:
    """The error names the command and its status, and nothing that it printed."""
    with pytest.raises(Exception, match=words) as caught:
        printed_by(command, "password_command")
    assert "half" not in str(caught.value)


def test_the_keyring(no_password: World, keyring: FakeKeyring) -> None:
    """`login --keyring` keeps the password, later commands find it, and `logout --keyring` forgets it."""
    world = no_password
    assert world.run("login", "--keyring", "--password-stdin", stdin=PASSWORD).status == 0
    assert keyring.kept == {("soapbatch", f"{world.url} ada"): PASSWORD}
    world.run("logout")
    assert world.run("list").status == 0
    assert world.run("logout", "--keyring").status == 0
    assert keyring.kept == {}
    refused = world.run("logout", "--keyring")
    assert (refused.status, "KeyError" in refused.err) == (2, True)


def test_a_question_that_gets_no_answer(
    no_password: World, terminal: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-D at the question for the password is none."""

    def getpass(*_: object, **__: object) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", getpass)
    assert terminal("list").status == 2
    assert no_password.server.requests == 0


def test_a_home_that_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a place for the ticket each command logs in, and says so to people, not to programs."""
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    done = world.run("list")
    assert (done.status, "the ticket store failed" in done.err) == (0, True)
    quiet = world.run("list", "-o", "json")
    assert (quiet.status, quiet.err) == (0, "")
    assert world.server.tickets.attempts == 2


def test_without_a_keyring(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is not installed, --keyring says what to install."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    done = world.run("login", "--keyring")
    assert done.status == 2
    assert "soapbatch[keyring]" in done.err


@pytest.mark.parametrize(("missing", "words"), [("SOAPBATCH_URL", "--url"), ("SOAPBATCH_USER", "--user")])
def test_a_setting_is_missing(world: World, monkeypatch: pytest.MonkeyPatch, missing: str, words: str) -> None:
    """Without a server, or without a user, the error says how to name one."""
    monkeypatch.delenv(missing)
    done = world.run("list")
    assert done.status == 2
    assert words in done.err
    assert world.server.requests == 0


def test_a_password_over_plain_http(world: World) -> None:
    """A password does not cross plain HTTP to another machine."""
    done = world.run("--url", "http://crm.example.com", "list")
    assert done.status == 2
    assert "https" in done.err


def test_a_broken_file_of_who(world: World) -> None:
    """A file that cannot be read means that it is not known who the user is."""
    world.run("login")
    file = next((world.home / "state").rglob("*.who"))
    for content in ("{", "[]"):
        file.write_text(content, encoding="utf-8")
        assert world.run("list", "--mine").status == 2


def test_a_server_that_does_not_say_who(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login whose answer has no principal works all the same."""
    real = connecting.TicketFile.remember

    def nobody(self: connecting.TicketFile, _: object) -> None:
        real(self, None)

    monkeypatch.setattr(connecting.TicketFile, "remember", nobody)
    done = world.run("login")
    assert (done.status, "as ada;" in done.err) == (0, True)


@pytest.mark.parametrize("ticket", [None, "7T:dGlja2V0"])
def test_a_tenant_of_online(world: World, monkeypatch: pytest.MonkeyPatch, ticket: str | None) -> None:
    """A profile with a tenant makes a client of SuperOffice Online, from what the profile and the environment say."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def online(tenant: str, **options: Any) -> Client:
        asked.append((tenant, options))
        return Client(world.url, ticket=world.server.tickets.issue(ADA))

    monkeypatch.setattr(Client, "online", online, raising=False)
    monkeypatch.delenv("SOAPBATCH_URL")
    monkeypatch.setenv("SOAPBATCH_APP_TOKEN", "client secret")
    for name in ("tenant=Cust12345", "environment=sod", "system_user=App-x", "private_key=app.pem"):
        world.run("config", "set", *name.split("="))
    if ticket:
        monkeypatch.setenv("SOAPBATCH_TICKET", ticket)
    assert world.run("list").status == 0
    assert world.run("info").status == 0
    tenant, options = asked[0]
    assert (tenant, options["environment"]) == ("Cust12345", "sod")
    assert options["application_token"] == Secret("client secret")
    if ticket:
        assert options["credentials"] == Ticket(ticket)
    else:
        assert (options["system_user"], options["private_key"]) == ("App-x", "app.pem")
    shown = world.run("config", "show").out
    assert "App-x" not in shown
    assert world.run("--url", world.url, "config", "show").status == 0


def test_a_tenant_without_a_client_secret(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SuperOffice Online requires the client secret of the app: the error says how to give it."""
    monkeypatch.setattr(Client, "online", None, raising=False)
    monkeypatch.delenv("SOAPBATCH_URL")
    monkeypatch.setenv("SOAPBATCH_TENANT", "Cust12345")
    done = world.run("list")
    assert (done.status, "SOAPBATCH_APP_TOKEN" in done.err) == (2, True)


def test_a_url_comes_before_a_tenant(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """--url and SOAPBATCH_URL mean a server on-site, also where the profile names a tenant."""
    world.run("config", "set", "tenant", "Cust12345")
    assert world.run("list").status == 0
    monkeypatch.delenv("SOAPBATCH_URL")
    assert world.run("list", "--url", world.url).status == 0


def test_the_application_token_comes_from_a_command(world: World) -> None:
    """application_token_command prints the application token, which every request carries."""
    seen: list[str | None] = []

    def accepts(token: str | None) -> bool:
        seen.append(token)
        return True

    world.server.accepts_application_token = accepts
    world.run("config", "set", "application_token_command", f"{sys.executable} -c 'print(\"client secret\")'")
    assert world.run("list").status == 0
    assert set(seen) == {"client secret"}
    assert world.run("doctor").status == 0


def test_the_keyring_breaks_nothing(no_password: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring that raises anything counts as none."""
    broken = types.ModuleType("keyring")
    monkeypatch.setitem(sys.modules, "keyring", broken)
    assert "--password-stdin" in no_password.run("list").err
    assert passwords.Keyring.__doc__
