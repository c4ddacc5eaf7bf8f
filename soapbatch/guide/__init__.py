"""Pages to read, each the docstring of a module: `python -m pydoc soapbatch.guide.testing`.

A page explains one task from beginning to end, with programs that the library's own tests run. The pages hold no code
that runs by itself, and import nothing. The reference is `help()` on the names themselves.

    fleets      how to run jobs of many tenants on several machines, with Temporal
    testing     how to test a service that starts jobs: failures, time and recordings under the control of the test
"""
