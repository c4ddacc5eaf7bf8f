"""What connects soapbatch to other systems: one system a module, with its library as an extra.

    soapbatch.integrations.temporal    durable batch jobs on several machines, with Temporal; extra soapbatch[temporal]

A module here is imported by its own name. It alone imports the library of its system, and nothing else in soapbatch
imports the module: whoever does not need a system need not install it.
"""
