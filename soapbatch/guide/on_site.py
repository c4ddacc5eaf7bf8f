"""A NetServer of your own: its address, who logs in, certificates and proxies, versions, and how much it bears.

    async with Client(URL, credentials=UsernamePassword("svc-batch", PASSWORD)) as client:
        system = await client.principal.get_system_info()
        print(system.company_name, client.version, client.binding)


The address
-----------

The base URL is everything before `/Remote`. These mean the same:

    for url in (
        "https://crm.example.com/SuperOffice",
        "https://crm.example.com/SuperOffice/",
        "https://crm.example.com/SuperOffice/Remote/Services88/Batch.svc?wsdl",
    ):
        print(Client(url))

Where the services lie without `Remote`, pass `path_prefix=""`.


Who logs in
-----------

| who | credentials |
|---|---|
| a service of yours | `UsernamePassword`, for a user that only this service has |
| the Windows user of the process | `Implicit()`: the server takes the user from the connection |
| whoever calls your service | `Ticket("7T:...")`, which the caller brings |
| somebody whom you ask elsewhere | an async callable that returns a ticket |

`soapbatch help wire` has the whole table, and says when a ticket is renewed. Settings do not belong into the program:
`Client.from_env()` reads them, the password from a file. Processes that run one after the other can share a ticket:

    store = FileTicketStore("ticket.json")                # only its owner may read it
    async with Client.from_env(ticket_store=store) as client:
        print(await client.batch.get_batch_task_info(1))


Certificates, plain HTTP and proxies
------------------------------------

    context = ssl.create_default_context(cafile="company-ca.pem")
    client = Client(URL, credentials=Implicit(), verify=context)
    client = Client(URL, credentials=Implicit(), proxy="http://proxy.example.com:3128")

Without `proxy=`, HTTPS_PROXY and NO_PROXY hold; `trust_env=False` leaves them out. A password over plain HTTP to
another machine is refused before anything is sent:

    try:
        Client("http://crm.example.com", credentials=UsernamePassword("svc-batch", PASSWORD))
    except InsecureTransport as error:
        print(error)

`allow_insecure=True` allows it. It is meant for a line that is protected by other means, such as a VPN.


Versions and bindings
---------------------

The client calls Services88 unless `version=` says otherwise, 75 to 88. What a version lacks is refused before anything
is sent:

    async with Client(URL, credentials=Implicit(), version=85) as old:
        try:
            await old.blob.get_output_from_batch(42)
        except NotInVersion as error:
            print(error.since)                            # the first version that has it

The first read or login finds out which form of envelope the server takes, at the cost of a refused request. A service
that starts often pins it: `binding=Binding.SOAP11` is what the published WSDLs declare, and `client.binding` says what
was found. Times without a zone are the server's own: `time_zone=` tells the server which zone they are in, with a
pinned `Binding.SOAP11` or `Binding.SOAP12`.


How much it bears
-----------------

    client = Client(URL, credentials=Implicit(), max_connections=8, max_rate=20)

A client opens up to 64 connections; the web server of a small installation may take fewer. `max_rate` limits the
requests a second. What a wait costs stands in `soapbatch help jobs`.


When it does not work
---------------------

`soapbatch doctor` checks each step: the name, TCP, TLS, the proxy, the clock, the binding, the application token, the
login, the right to list tasks. `soapbatch help errors` says whose turn it is.
"""
