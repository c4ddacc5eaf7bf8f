"""Pages to read, each the docstring of a module: `python -m pydoc soapbatch.guide.testing`.

A page explains one task from beginning to end, with programs that the library's own tests run. The pages hold no code
that runs by itself, and import nothing. The reference is `help()` on the names themselves.

    first_hour     from nothing to a job that you watch; what to ask the administrator of your own server
    on_site        a NetServer of your own: its address, who logs in, certificates, proxies, versions, how much it bears
    online         SuperOffice Online: an app, its secrets, and the tenants that let it in
    jobs           how to start jobs so that none runs twice, wait for many, and know what a wait costs
    wire           what goes over the wire: operations, envelopes, tickets, and how a response is judged
    errors         each error: whose turn it is, whether the server may have done it, and what to do
    operators      how to start, watch and stop jobs from a shell or a script
    observability  what an operator sees: traces and metrics with OpenTelemetry, a Grafana dashboard, hooks
    logs           every log record and its attributes, and what to send to the owner of a server that fails
    fleets         how to run jobs of many tenants on several machines, with Temporal
    testing        how to test a service that starts jobs: failures, time and recordings under the control of the test
    upgrading      what was renamed or taken away, and what to write instead

Complete small programs to copy are in `tests/recipes` of the sources, each with a test that runs it.
"""
