"""The settings of one command: from its options, the environment, the profile, or the default, in this order."""

import argparse
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from soapbatch.cli.config_file import KEYS, ConfigFile
from soapbatch.cli.rows import duration
from soapbatch.errors import UsageError
from soapbatch.model import MASK, Address, Binding, Secret, ServiceVersion, parse_address

_VARIABLES: Final = {"service_version": "VERSION"}
_DEFAULTS: Final = {"service_version": "88", "timeout": "60"}
_SECRETS: Final = ("ticket", "password", "app_token")
_MASKED: Final = frozenset({*_SECRETS, "system_user"})
_RANKS: Final = ("option", "environment", "profile")  # the first word of an origin, the nearest first
_DEFAULT_PROFILE: Final = "default"


@attrs.frozen
class Setting:
    """One setting.

    Attributes:
        value: as text, or a command as a list of words. A secret is a Secret.
        origin: where it comes from, for people.
    """

    value: Any
    origin: str


@attrs.frozen
class Settings:
    """The settings of one command.

    Attributes:
        profile: the name of the profile.
        file: the configuration file.
        found: each setting that has a value, by name.
        printed: what commands of the profile have printed, by the name of the setting: each is run once.
    """

    profile: str
    file: ConfigFile
    found: Mapping[str, Setting]
    printed: dict[str, Secret] = attrs.field(factory=dict[str, Secret], repr=False)

    def get(self, name: str) -> Any:
        """Return the value of a setting, or None."""
        setting = self.found.get(name)
        return None if setting is None else setting.value

    @property
    def tenant(self) -> str | None:
        """The tenant of SuperOffice Online; None: the server is on-site. A URL that is given comes first."""
        if self.get("url") is not None and self.origin_rank("url") < self.origin_rank("tenant"):
            return None
        tenant: str | None = self.get("tenant")
        return tenant

    def origin_rank(self, name: str) -> int:
        """Return how near to the command line a setting was given: 0 is an option."""
        origin = self.found[name].origin.partition(" ")[0] if name in self.found else ""
        return _RANKS.index(origin) if origin in _RANKS else len(_RANKS)

    @property
    def address(self) -> Address:
        """The address of the server. Raises UsageError if none was given."""
        url: str | None = self.get("url")
        if url is None:
            raise UsageError(
                "which server? Give --url, or set SOAPBATCH_URL, or write it to the profile: "
                "soapbatch config set url https://crm.example.com/SuperOffice"
            )
        try:
            return parse_address(url)
        except ValueError as error:
            raise UsageError(str(error)) from None

    @property
    def version(self) -> ServiceVersion:
        """The service version: the one that was given, or the one that the URL names, or Services88."""
        try:
            wanted = ServiceVersion.of(self.get("service_version"))
        except ValueError as error:
            raise UsageError(f"service_version: {error}") from None
        named = None if self.tenant is not None else self.address.version
        is_default = self.found["service_version"].origin == "default"
        return named if named is not None and is_default else wanted

    @property
    def binding(self) -> Binding | None:
        """The form of envelope; None: the first read or login finds out."""
        label = self.get("binding")
        try:
            return None if label is None else Binding.labelled(label)
        except ValueError as error:
            raise UsageError(str(error)) from None

    @property
    def timeout(self) -> float:
        """Seconds that a call may take."""
        value = self.get("timeout")
        try:
            return value if isinstance(value, float) else duration(value)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"timeout: {error}") from None

    @property
    def server(self) -> str:
        """What the settings name: the base URL, or the tenant."""
        tenant = self.tenant
        return self.address.base_url if tenant is None else f"{tenant}@{self.get('environment') or ''}"

    @property
    def identity(self) -> str:
        """Who logs in where: what a ticket is kept under."""
        who = self.get("user") if self.tenant is None else self.get("system_user")
        return f"{self.server}\n{who or ''}"

    def shown(self) -> dict[str, dict[str, str]]:
        """Return each setting with its origin, for people; secrets are masked."""
        return {
            name: {"value": MASK if name in _MASKED else _shown(setting.value), "origin": setting.origin}
            for name, setting in self.found.items()
        }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(cast("list[str]", value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def load_settings(options: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a command.

    Raises:
        UsageError: the configuration file cannot be used, or has no such profile.
    """
    file = ConfigFile(environ)
    profiles = file.read()
    chosen: str | None = options.profile or environ.get("SOAPBATCH_PROFILE") or None
    profile = chosen or _DEFAULT_PROFILE
    if chosen is not None and chosen not in profiles and not _makes_profile(options):
        raise UsageError(f"there is no profile {chosen!r} in {file.path}: there are {', '.join(profiles) or 'none'}")
    found: dict[str, Setting] = {}
    for name in (*KEYS, *_SECRETS, "password_file"):
        variable = f"SOAPBATCH_{_VARIABLES.get(name, name.upper())}"
        is_variable = not name.endswith("_command")
        option = getattr(options, name, None)
        if option is not None:
            found[name] = Setting(option, f"option --{name.replace('_', '-')}")
        elif is_variable and environ.get(variable):
            value = environ[variable]
            found[name] = Setting(Secret(value) if name in _SECRETS else value, f"environment {variable}")
        elif name in (of_profile := profiles.get(profile, {})):
            found[name] = Setting(of_profile[name], f"profile {profile}")
        elif name in _DEFAULTS:
            found[name] = Setting(_DEFAULTS[name], "default")
    return Settings(profile, file, found)


def _makes_profile(options: argparse.Namespace) -> bool:
    """Return whether the command may write a profile that is not there yet."""
    return bool(options.command == "login" or (options.command == "config" and options.action == "set"))
