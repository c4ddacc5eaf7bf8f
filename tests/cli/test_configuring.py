"""`soapbatch config`, the configuration file, and the order of the settings."""

import json
import os
from pathlib import Path

import pytest

from soapbatch import UsageError
from soapbatch.cli.command_line import make_parser
from soapbatch.cli.config_file import ConfigFile, config_folder, state_folder
from soapbatch.cli.settings import load_settings
from soapbatch.client import settings_from
from tests.cli.conftest import World, environment, lines


def write(world: World, text: str, mode: int = 0o600) -> None:
    """Write the configuration file."""
    world.config.parent.mkdir(parents=True, exist_ok=True)
    world.config.write_text(text, encoding="utf-8")
    world.config.chmod(mode)


def test_path(world: World) -> None:
    """The path follows XDG_CONFIG_HOME; the file need not be there."""
    assert world.run("config", "path").out == f"{world.config}\n"
    assert json.loads(world.run("config", "path", "-o", "json").out)["exists"] is False


def test_folders() -> None:
    """Without the variables of XDG the folders are those of its specification."""
    assert config_folder({}) == Path.home() / ".config" / "soapbatch"
    assert state_folder({}) == Path.home() / ".local" / "state" / "soapbatch"


def test_the_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option comes before the environment, the environment before the profile, the profile before the default."""
    monkeypatch.delenv("SOAPBATCH_URL")
    write(world, '[profile.default]\nurl = "https://profile.example.com"\nservice_version = 86\ntimeout = 5\n')

    def shown(*words: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads(world.run("config", "show", "-o", "json", *words).out)["settings"]
        return found

    assert shown()["url"] == {"value": "https://profile.example.com", "origin": "profile default"}
    assert shown()["service_version"] == {"value": "86", "origin": "profile default"}
    with environment(monkeypatch, {"SOAPBATCH_URL": "https://variable.example.com", "SOAPBATCH_VERSION": "85"}):
        assert shown()["url"] == {"value": "https://variable.example.com", "origin": "environment SOAPBATCH_URL"}
        assert shown()["service_version"]["value"] == "85"
        assert shown("--url", "https://option.example.com")["url"]["origin"] == "option --url"
        assert shown("--timeout", "2m")["timeout"] == {"value": "120", "origin": "option --timeout"}
    world.run("config", "set", "password_command", "pass show crm")
    table = lines(world.run("config", "show").out)
    assert "password_command pass show crm profile default" in table
    assert table[0] == "SETTING VALUE FROM"
    assert "timeout 5 profile default" in table
    assert "service_version 86 profile default" in table


def test_secrets_are_masked(world: World) -> None:
    """No secret of the environment is shown."""
    done = world.run("config", "show")
    assert "password" in done.out
    assert os.environ["SOAPBATCH_PASSWORD"] not in done.out


def test_the_variables_are_those_of_the_client(world: World) -> None:
    """The command line reads the variables that `Client.from_env` reads, and makes the same of them."""
    variables = {
        "SOAPBATCH_URL": "https://crm.example.com/SuperOffice",
        "SOAPBATCH_VERSION": "Services86",
        "SOAPBATCH_BINDING": "SOAP11",
        "SOAPBATCH_APP_TOKEN": "client secret",
        "SOAPBATCH_TICKET": "7T:dGlja2V0",
        "XDG_CONFIG_HOME": str(world.home),
    }
    settings = load_settings(make_parser().parse_args(["list"]), variables)
    wanted = settings_from(variables)
    assert (settings.address.base_url, str(settings.version)) == (wanted["base_url"], wanted["version"])
    assert settings.binding == wanted["binding"]
    assert (settings.get("app_token"), settings.get("ticket")) == (wanted["application_token"], wanted["ticket"])


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SOAPBATCH_URL": "crm.example.com"}, "must be absolute"),
        ({"SOAPBATCH_VERSION": "12"}, "service_version: there is no such version"),
        ({"SOAPBATCH_BINDING": "soap13"}, "binding is one of documented, soap11, soap12"),
        ({"SOAPBATCH_TIMEOUT": "soon"}, "timeout: 'soon' is no duration"),
        ({"SOAPBATCH_PROFILE": "nobody"}, "there is no profile 'nobody'"),
    ],
)
def test_settings_that_cannot_be_used(
    world: World, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str | None], words: str
) -> None:
    """A wrong setting is a usage error, and nothing is sent."""
    with environment(monkeypatch, variables):
        done = world.run("list")
    assert done.status == 2
    assert words in done.err
    assert world.server.requests == 0


def test_the_version_in_the_url(world: World) -> None:
    """A URL that names a version decides, unless another one is given: then they must agree with what is called."""
    world.run("list", "--url", f"{world.url}/Remote/Services86/")
    assert {int(call.version) for call in world.server.calls} == {86}
    world.server.calls.clear()
    world.run("list", "--url", f"{world.url}/Remote/Services86/", "--service-version", "85")
    assert {int(call.version) for call in world.server.calls} == {85}


def test_a_file_somewhere_else(world: World) -> None:
    """A link to a file elsewhere stays a link."""
    world.config.parent.mkdir(parents=True)
    elsewhere = world.home / "dotfiles.toml"
    world.config.symlink_to(elsewhere)
    assert world.run("config", "set", "user", "ada").status == 0
    assert world.config.is_symlink()
    assert "ada" in elsewhere.read_text(encoding="utf-8")


def test_profiles(world: World) -> None:
    """Profiles are made by setting something, chosen by --profile, and listed with their servers."""
    assert world.run("config", "set", "url", "https://crm.example.com").status == 0
    done = world.run("config", "set", "--profile", "test", "url", world.url, "-o", "json")
    assert json.loads(done.out)["profile"] == "test"
    world.run("config", "set", "--profile", "cloud", "tenant", "Cust12345")
    assert lines(world.run("config", "profiles").out) == [
        "PROFILE SERVER",
        "* default https://crm.example.com",
        "test " + world.url,
        "cloud Cust12345",
    ]
    assert world.run("config", "profiles", "-o", "ids").out.split() == ["default", "test", "cloud"]
    assert json.loads(world.run("--profile", "test", "config", "profiles", "-o", "json").out)["profile"] == "test"


def test_set_leaves_the_rest_as_it_is(world: World) -> None:
    """Comments, order and other profiles stay; a setting is replaced in its table, and an empty value removes it."""
    write(world, '# mine\n[profile.default] # this one\nurl = "a" # old\n# note\n\n[profile."b"]\nurl = "x"\n')
    assert world.run("config", "set", "url", "https://crm.example.com").status == 0
    text = world.config.read_text(encoding="utf-8")
    assert text == (
        '# mine\n[profile.default] # this one\n# note\nurl = "https://crm.example.com"\n\n[profile."b"]\nurl = "x"\n'
    )
    assert world.run("config", "set", "url", "").status == 0
    assert 'url = "https' not in world.config.read_text(encoding="utf-8")
    assert world.run("config", "set", "--profile", "b", "user", "Åse").status == 0
    assert ConfigFile({"XDG_CONFIG_HOME": str(world.home / "config")}).read()["b"] == {"url": "x", "user": "Åse"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["set", "password", "secret"], "password is a secret"),
        (["set", "ticket", "7T:x"], "SOAPBATCH_TICKET"),
        (["set", "colour", "red"], "there is no setting 'colour'"),
        (["set", "url"], "takes a setting and its value"),
        (["set"], "takes a setting and its value"),
        (["show", "url"], "takes no further words"),
        (["set", "user", "a\nb"], "control character"),
        (["--profile", "a b", "set", "user", "x"], "letters, digits"),
        (["dance"], "invalid choice"),
    ],
)
def test_wrong_words(world: World, words: list[str], message: str) -> None:
    """A wrong word is a usage error, and the file stays as it is; a secret is not repeated."""
    done = world.run("config", *words)
    assert done.status == 2
    assert message in done.err
    assert "7T:x" not in done.err
    assert not world.config.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[profile", "is not TOML"),
        ("url = 'x'\n", "something else than tables"),
        ("profile = 1\n", "something else than tables"),
        ("[profile]\ndefault = 1\n", "something else than tables"),
        ("[profile.default]\npassword = 'x'\n", "password is a secret"),
        ("[profile.default]\nurl = true\n", "url of profile default is not text"),
        ("[profile.default]\npassword_command = 'pass'\n", "is no list like"),
        ("[profile.default]\npassword_command = []\n", "is no list like"),
    ],
)
def test_files_that_cannot_be_used(world: World, text: str, message: str) -> None:
    """A file that holds something else is refused, with its path."""
    write(world, text)
    done = world.run("list")
    assert done.status == 2
    assert message in done.err


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_can_use(world: World, mode: int) -> None:
    """The file names commands that are run, so others may neither read nor write it: the error says what to do."""
    write(world, "", mode)
    done = world.run("config", "show")
    assert done.status == 2
    assert f"chmod 600 {world.config}" in done.err


def test_a_file_that_cannot_be_read(world: World) -> None:
    """A folder in its place is said to be none."""
    world.config.mkdir(parents=True)
    assert "cannot be read" in world.run("config", "show").err


@pytest.mark.parametrize(
    "before",
    ['profile = { default = { url = "a" } }\n', '[profile.default]\nuser = """\nurl = 1"""\n'],
    ids=["another form", "a text of several lines"],
)
def test_a_layout_that_cannot_be_changed(world: World, before: str) -> None:
    """A file in which the setting is written in another way is left alone."""
    write(world, before)
    done = world.run("config", "set", "url", "b")
    assert (done.status, "edit it by hand" in done.err) == (2, True)
    assert world.config.read_text(encoding="utf-8") == before


def test_a_profile_that_is_not_there(world: World) -> None:
    """Only `login` and `config set` make a profile."""
    file = ConfigFile({"XDG_CONFIG_HOME": str(world.home / "none")})
    assert file.read() == {}
    assert world.run("--profile", "new", "config", "show").status == 2
    with pytest.raises(UsageError, match="no setting"):
        file.write("new", "nothing", "x")


@pytest.mark.parametrize("name", ["cloud", "test-environment", "my-option"])
def test_a_url_that_is_given_comes_before_the_tenant_of_a_profile(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever the profile is called, the command goes to the server that the environment names."""
    write(world, f'[profile.{name}]\ntenant = "Cust12345"\n')
    monkeypatch.setenv("SOAPBATCH_URL", "https://crm.example.com")
    options = make_parser().parse_args(["--profile", name, "list"])
    assert load_settings(options, os.environ).tenant is None
