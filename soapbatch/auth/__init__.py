"""Where a ticket comes from, how it is shared and renewed, and where processes keep it.

`credentials` holds the ways to obtain one, `ticket_manager` the ticket that all calls of a client share, and
`ticket_stores` the stores through which processes share it.
"""

from soapbatch.auth.credentials import (
    AccessToken as AccessToken,
    Credentials as Credentials,
    Generic as Generic,
    Implicit as Implicit,
    Provider as Provider,
    Ticket as Ticket,
    UsernamePassword as UsernamePassword,
    as_provider as as_provider,
    check_transport_security as check_transport_security,
    refuse_plain_http as refuse_plain_http,
)
from soapbatch.auth.ticket_manager import IssuedTicket as IssuedTicket, TicketManager as TicketManager
from soapbatch.auth.ticket_stores import (
    FileTicketStore as FileTicketStore,
    MemoryTicketStore as MemoryTicketStore,
    TicketStore as TicketStore,
)
