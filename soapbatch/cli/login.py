"""`soapbatch login` and `soapbatch logout`."""

from datetime import UTC, datetime
from typing import Any

from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.output import short_time
from soapbatch.cli.passwords import Keyring
from soapbatch.errors import UsageError


async def login(invocation: Invocation) -> int:
    """Log in, keep the ticket for the next commands, and write URL and user to the profile."""
    settings, output = invocation.settings, invocation.output
    if settings.get("ticket") is not None:
        raise UsageError("SOAPBATCH_TICKET is set: there is nothing to log in for")
    invocation.ticket_file.remove()
    async with invocation.client() as client:
        ticket = await client.ticket()
    who = invocation.ticket_file.who()
    if invocation.options.keyring:
        Keyring(settings).put(invocation.login.find_password())
    for name in ("url", "user"):
        if settings.found.get(name) is not None and settings.found[name].origin.startswith("option"):
            settings.file.write(settings.profile, name, settings.get(name))
            output.say(f"wrote {name} to profile {settings.profile} of {settings.file.path}")
    left = None if ticket.expires_at is None else (ticket.expires_at - datetime.now(UTC)).total_seconds()
    whom = who.get("full_name") or who.get("associate") or settings.get("user") or settings.tenant
    output.say(
        f"logged in to {settings.server} as {whom}; the ticket lasts {short_time(left) or 'as long as it is used'}"
    )
    found: dict[str, Any] = {
        "server": settings.server,
        "user": settings.get("user"),
        **who,
        "expires_at": ticket.expires_at,
        "file": str(invocation.ticket_file.path),
    }
    if output.is_json:
        output.write_json(found)
    return ExitStatus.DONE


async def logout(invocation: Invocation) -> int:
    """Forget the ticket; with --keyring the password, too."""
    output = invocation.output
    was_there = invocation.ticket_file.remove()
    if invocation.options.keyring:
        Keyring(invocation.settings).remove()
    if output.is_json:
        output.write_json({"server": invocation.settings.server, "was_logged_in": was_there})
    output.say("logged out: the ticket is forgotten" if was_there else "there was no ticket")
    return ExitStatus.DONE
