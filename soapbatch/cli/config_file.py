"""The configuration file: where it is, what may stand in it, and how a setting is written to it.

    [profile.default]
    url = "https://crm.example.com/SuperOffice"
    user = "ada"
    password_command = ["pass", "show", "crm"]

The file names commands that are run, so it must be readable and writable by its owner alone. It holds no secrets.
"""

import json
import os
import re
import shlex
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from soapbatch.errors import UsageError
from soapbatch.system import AtomicFile

Profiles: TypeAlias = dict[str, dict[str, Any]]
"""The settings of each profile."""

KEYS: Final = {
    "url": str,
    "user": str,
    "service_version": str,
    "binding": str,
    "timeout": str,
    "password_command": list,
    "application_token_command": list,
    "tenant": str,
    "environment": str,
    "system_user": str,
    "private_key": str,
}
"""The settings of a profile, with the types of their values. A number is taken as its text."""

_SECRETS: Final = {
    "password": "set password_command to a command that prints it, or give it to `soapbatch login --keyring`",
    "ticket": "set the environment variable SOAPBATCH_TICKET, or log in",
    "application_token": "set application_token_command to a command that prints it",
}
_PROFILE: Final = re.compile(r"[A-Za-z0-9_-]+")


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the configuration file; see the XDG base directory specification."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "soapbatch"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder in which tickets are kept."""
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "soapbatch"


class ConfigFile:
    """The configuration file of a user.

    Attributes:
        path: of the file, which need not exist.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find the file; it is not read yet."""
        self.path = config_folder(environ) / "config.toml"

    def read(self) -> Profiles:
        """Return the profiles; none if there is no file.

        Raises:
            UsageError: others may read or write the file, or it holds something else than profiles.
        """
        try:
            mode = self.path.stat().st_mode
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path} cannot be read: {error}") from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise UsageError(f"{self.path} can be read or written by others: chmod 600 {shlex.quote(str(self.path))}")
        return self._parse(text)

    def _parse(self, text: str) -> Profiles:
        try:
            tables = tomllib.loads(text)
        except ValueError as error:
            raise UsageError(f"{self.path} is not TOML: {error}") from None
        found: Profiles = tables.pop("profile", {})
        if tables or not _is_table(found) or not all(map(_is_table, found.values())):
            raise UsageError(f"{self.path} holds something else than tables like [profile.default]")
        return {
            name: {key: self._checked(name, key, value) for key, value in profile.items()}
            for name, profile in found.items()
        }

    def _checked(self, profile: str, key: str, value: Any) -> Any:
        check_key(key)
        if KEYS[key] is list:
            if not _is_command(value):
                raise UsageError(f'{self.path}: {key} of profile {profile} is no list like ["pass", "show", "crm"]')
            return value
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UsageError(f"{self.path}: {key} of profile {profile} is not text")
        return str(value)

    def write(self, profile: str, key: str, text: str) -> None:
        """Write a setting to a profile, which is made if need be; an empty `text` removes the setting.

        The rest of the file stays as it is, comments included.

        Raises:
            UsageError: there is no such setting, it is a secret, or the file cannot be changed.
        """
        check_key(key)
        if not _PROFILE.fullmatch(profile):
            raise UsageError("the name of a profile has letters, digits, - and _ only")
        if not text.isprintable():
            raise UsageError(f"{key}: the value holds a control character")
        value: Any = (shlex.split(text) if KEYS[key] is list else text) or None
        wanted = self.read()
        settings = wanted.setdefault(profile, {})
        settings.pop(key, None)
        if value is not None:
            settings[key] = value
        before = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        after = _edited(before, profile, key, value)
        try:
            is_as_wanted = self._parse(after) == wanted
        except UsageError:
            is_as_wanted = False
        if not is_as_wanted:
            raise UsageError(f"{self.path} is laid out in a way that this command cannot change: edit it by hand")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with AtomicFile(self.path.resolve()) as new:
            new.file.write(after.encode())
            new.commit()


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _is_command(value: Any) -> bool:
    words: Any = value if _is_list(value) else ()
    return bool(words) and all(isinstance(word, str) for word in words)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def check_key(key: str) -> None:
    """Raise UsageError unless `key` is a setting of a profile."""
    if advice := _SECRETS.get(key):
        raise UsageError(f"{key} is a secret, which the configuration file does not hold: {advice}")
    if key not in KEYS:
        raise UsageError(f"there is no setting {key!r}: there are {', '.join(KEYS)}")


def _edited(text: str, profile: str, key: str, value: Any) -> str:
    """Return the text of the file with one setting changed, line by line."""
    lines = text.splitlines()
    header = re.compile(rf"\s*\[\s*profile\s*\.\s*(?:{profile}|\"{profile}\")\s*\]\s*(?:#.*)?")
    begins = next((number + 1 for number, line in enumerate(lines) if header.fullmatch(line)), None)
    if begins is None:
        lines += [*([""] if lines else []), f"[profile.{profile}]"]
        begins = len(lines)
    ends = next((number for number in range(begins, len(lines)) if lines[number].lstrip().startswith("[")), len(lines))
    assignment = re.compile(rf"\s*{key}\s*=")
    kept = [line for line in lines[begins:ends] if not assignment.match(line)]
    if value is not None:
        last = max((number + 1 for number, line in enumerate(kept) if line.strip()), default=0)
        kept.insert(last, f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join([*lines[:begins], *kept, *lines[ends:]]) + "\n"
