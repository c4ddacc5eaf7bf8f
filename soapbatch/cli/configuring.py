"""`soapbatch config`: where the settings come from, and how they are changed."""

from soapbatch.cli.config_file import KEYS, ConfigFile
from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.errors import UsageError


async def config(invocation: Invocation) -> int:
    """Print the path of the file, show settings, write one, or list profiles."""
    options = invocation.options
    if options.action == "set":
        return _set(invocation)
    if options.key is not None:
        raise UsageError(f"config {options.action} takes no further words")
    return {"path": _path, "show": _show, "profiles": _profiles}[options.action](invocation)


def _path(invocation: Invocation) -> int:
    file = invocation.settings.file
    _write(invocation, str(file.path), {"path": str(file.path), "exists": file.path.exists()})
    return ExitStatus.DONE


def _show(invocation: Invocation) -> int:
    settings, output = invocation.settings, invocation.output
    shown = settings.shown()
    if output.is_json:
        output.write_json({"profile": settings.profile, "file": str(settings.file.path), "settings": shown})
    else:
        rows = [(name, setting["value"], setting["origin"]) for name, setting in shown.items()]
        output.write_table(["setting", "value", "from"], rows)
    return ExitStatus.DONE


def _set(invocation: Invocation) -> int:
    options, settings = invocation.options, invocation.settings
    if options.key is None or options.value is None:
        raise UsageError(f"config set takes a setting and its value; settings are {', '.join(KEYS)}")
    file: ConfigFile = settings.file
    file.write(settings.profile, options.key, options.value)
    done = "removed" if not options.value else "set"
    invocation.output.say(f"{options.key} of profile {settings.profile} is {done} in {file.path}")
    if invocation.output.is_json:
        invocation.output.write_json({"profile": settings.profile, "key": options.key, "file": str(file.path)})
    return ExitStatus.DONE


def _profiles(invocation: Invocation) -> int:
    settings, output = invocation.settings, invocation.output
    profiles = settings.file.read()
    if output.is_json:
        output.write_json({"profile": settings.profile, "profiles": list(profiles)})
    elif output.form == "ids":
        output.write("\n".join(profiles))
    else:
        rows = [
            ("*" if name == settings.profile else "", name, str(profile.get("url") or profile.get("tenant") or ""))
            for name, profile in profiles.items()
        ]
        output.write_table(["", "profile", "server"], rows)
    return ExitStatus.DONE


def _write(invocation: Invocation, text: str, value: dict[str, object]) -> None:
    if invocation.output.is_json:
        invocation.output.write_json(value)
    else:
        invocation.output.write(text)
