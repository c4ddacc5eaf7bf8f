"""Tickets: how a client obtains one, shares it between its calls, renews it, and shares it with other processes.

`credentials` holds the ways to obtain a ticket, `ticket_manager` the ticket that all calls of a client share, and
`ticket_stores` the stores through which processes share a ticket. The wing sends nothing itself: the manager gets
`authenticate`, a callable that sends a login as a call of the client.
"""

from soapbatch.auth.credentials import (
    AccessToken as AccessToken,
    Credentials as Credentials,
    Generic as Generic,
    Implicit as Implicit,
    Provider as Provider,
    SecretHolder as SecretHolder,
    SecretSource as SecretSource,
    Ticket as Ticket,
    UsernamePassword as UsernamePassword,
    as_provider as as_provider,
    check_transport_security as check_transport_security,
    fetch_application_token as fetch_application_token,
    is_loopback as is_loopback,
    refuse_plain_http as refuse_plain_http,
    refuse_plain_proxy as refuse_plain_proxy,
)
from soapbatch.auth.ticket_manager import (
    IssuedTicket as IssuedTicket,
    TicketEvent as TicketEvent,
    TicketManager as TicketManager,
    is_ending as is_ending,
)
from soapbatch.auth.ticket_stores import (
    FileTicketStore as FileTicketStore,
    MemoryTicketStore as MemoryTicketStore,
    TicketStore as TicketStore,
)
