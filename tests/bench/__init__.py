"""Benchmarks: soapbatch measured against zeep, plain lxml and plain httpx. `make bench` runs them all.

A topic is a module that lists cases. A case compares contenders: each is a function that takes one sample. The
runner interleaves the samples, so that whatever else the machine does meets all contenders alike, and every ratio
is one of medians of the same run.

    build     values -> envelope bytes                   parse     reply bytes -> values
    hygiene   how long a big answer stalls the loop      memory    what streaming and collecting cost
    imports   what `import soapbatch` costs              calls     calls a second over a loopback socket
"""
