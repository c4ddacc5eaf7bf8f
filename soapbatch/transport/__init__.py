"""Bytes over HTTP. The port is httpx's own, `httpx.AsyncBaseTransport`; no other wing sends a request with httpx.

`sending` carries one request through any such transport, and turns what fails into one of our errors
(`error_mapping`); `send_state` says how far the request has come. `pool` is the default transport: connections
(`connection`) over sockets of our own (`socket_stream`, `happy_eyeballs`), by way of proxies if need be (`proxies`);
`wrappers` chooses the transport of a client, and holds transports around others.
`decompression` decodes a body in bounded steps.
"""

from soapbatch.transport.connection import TlsContext as TlsContext
from soapbatch.transport.decompression import Decompressor as Decompressor
from soapbatch.transport.pool import MAX_CONNECTIONS as MAX_CONNECTIONS, ConnectionPool as ConnectionPool
from soapbatch.transport.proxies import environment_proxy as environment_proxy
from soapbatch.transport.send_state import SendState as SendState
from soapbatch.transport.sending import (
    ClientTransport as ClientTransport,
    HttpClient as HttpClient,
    HttpResponse as HttpResponse,
    Sender as Sender,
    merged_headers as merged_headers,
)
from soapbatch.transport.wrappers import (
    ForwardingTransport as ForwardingTransport,
    SharedTransport as SharedTransport,
    choose_transport as choose_transport,
)
