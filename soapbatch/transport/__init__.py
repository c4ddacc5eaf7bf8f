"""Bytes over HTTP. The port is httpx's own, `httpx.AsyncBaseTransport`; no other wing imports httpx.

`sending` carries one request through any such transport and turns what fails into one of our errors
(`error_mapping`). `pool` is the default transport: connections (`connection`) over sockets of our own
(`socket_stream`, `happy_eyeballs`). `decompression` decodes a body in bounded steps.
"""

from soapbatch.transport.pool import ConnectionPool as ConnectionPool
from soapbatch.transport.sending import (
    ClientTransport as ClientTransport,
    HttpReply as HttpReply,
    HttpRequest as HttpRequest,
    Progress as Progress,
    Transport as Transport,
    decoded as decoded,
)
