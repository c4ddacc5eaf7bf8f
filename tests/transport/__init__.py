"""Tests of `soapbatch.transport`."""
