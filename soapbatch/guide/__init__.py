"""Pages to read, each the docstring of a module: `python -m pydoc soapbatch.guide.testing`.

A page explains one task from beginning to end, with programs that the library's own tests run. The pages hold no code
that runs by itself, and import nothing. The reference is `help()` on the names themselves.

    jobs        how to start jobs so that none runs twice, wait for many, and know what a wait costs
    wire        what goes over the wire: operations, envelopes, tickets, and how a response is judged
    operators   how to start, watch and stop jobs from a shell or a script
    observability  what an operator sees: traces and metrics with OpenTelemetry, a Grafana dashboard, hooks
    logs        every log record and its attributes, and what to send to the owner of a server that fails
    fleets      how to run jobs of many tenants on several machines, with Temporal
    testing     how to test a service that starts jobs: failures, time and recordings under the control of the test
"""
