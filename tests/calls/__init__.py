"""Tests of `soapbatch.calls`."""
