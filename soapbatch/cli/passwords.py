"""Where a password, and the application token, come from. Never from an argument: others could see it."""

import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from soapbatch.cli.output import Output
from soapbatch.cli.settings import Settings
from soapbatch.client import secret_in
from soapbatch.errors import UsageError
from soapbatch.model import Secret

_SERVICE: Final = "soapbatch"
_COMMAND_TIMEOUT: Final = 60  # seconds: the command may ask a person
_NOWHERE: Final = (
    "the login needs a password: give it by --password-stdin, SOAPBATCH_PASSWORD, SOAPBATCH_PASSWORD_FILE, or "
    "password_command of the profile; on a terminal it is asked for"
)


def find_password(settings: Settings, output: Output, *, from_stdin: bool) -> Secret:
    """Return the password of the user: from the first place that has one.

    Raises:
        UsageError: there is none, or a place that is named cannot be read.
    """
    if from_stdin:
        return Secret(sys.stdin.readline().removesuffix("\n").removesuffix("\r"))
    password: Secret | None = settings.get("password")
    if password is not None:
        return password
    if (file := settings.get("password_file")) is not None:
        return secret_in(file)
    if (printed := printed_for(settings, "password_command")) is not None:
        return printed
    if (kept := Keyring(settings).get()) is not None:
        return kept
    asked = output.ask_password(f"password of {settings.get('user')} at {settings.server}: ")
    if asked is None:
        raise UsageError(_NOWHERE)
    return Secret(asked)


def find_application_token(settings: Settings) -> Secret | None:
    """Return the application token, if there is one."""
    token: Secret | None = settings.get("app_token")
    return printed_for(settings, "application_token_command") if token is None else token


def printed_for(settings: Settings, name: str) -> Secret | None:
    """Return what the command in the setting `name` prints, which is run once; None: there is no such setting."""
    command: list[str] | None = settings.get(name)
    if command is not None and name not in settings.printed:
        settings.printed[name] = printed_by(command, name)
    return settings.printed.get(name)


def printed_by(command: Sequence[str], name: str) -> Secret:
    """Return the first line that `command` prints. Its errors go to the terminal; its output is shown nowhere.

    Raises:
        UsageError: the command fails, or prints nothing.
    """
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_COMMAND_TIMEOUT, check=False)  # noqa: S603 - the user's own
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{name} ({command[0]}) cannot be run: {type(error).__name__}") from None
    if done.returncode or not done.stdout:
        raise UsageError(f"{name} ({command[0]}) ended with status {done.returncode} and printed no secret")
    return Secret(_first_line(done.stdout.decode(errors="replace")))


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removesuffix("\r")


class Keyring:
    """The entry of the user at the server in the keyring of this machine, by the library of that name."""

    def __init__(self, settings: Settings) -> None:
        """Name the entry; nothing is read yet."""
        self._name = settings.identity.replace("\n", " ")

    def get(self) -> Secret | None:
        """Return the password; None if there is none, or no keyring."""
        try:
            kept = import_module("keyring").get_password(_SERVICE, self._name)
        except Exception:  # noqa: BLE001 - not installed, or any error of any backend
            return None
        return Secret.wrap(kept)

    def put(self, password: Secret) -> None:
        """Keep the password. Raises UsageError if there is no keyring that does."""
        self._change("set_password", password)

    def remove(self) -> None:
        """Forget the password. Raises UsageError if there is no keyring, or no entry."""
        self._change("delete_password")

    def _change(self, method: str, *secrets: Secret) -> None:
        try:
            keyring: Any = import_module("keyring")
        except ImportError:
            raise UsageError('the keyring needs an extra: pip install "soapbatch[keyring]"') from None
        try:
            getattr(keyring, method)(_SERVICE, self._name, *(secret.reveal() for secret in secrets))
        except Exception as error:  # noqa: BLE001 - any error of any backend
            failure = UsageError(f"the keyring refuses ({type(error).__name__}): is there one on this machine?")
        else:
            return
        raise failure
