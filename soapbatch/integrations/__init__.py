"""What connects soapbatch to other systems: one system a module, with its library as an extra.

    soapbatch.integrations.temporal         durable batch jobs on several machines; extra soapbatch[temporal]
    soapbatch.integrations.opentelemetry    traces and metrics of calls and jobs; extra soapbatch[opentelemetry]

A module here is imported by its own name. It alone imports the library of its system, and nothing else in soapbatch
imports the module: whoever does not need a system need not install it.
"""
