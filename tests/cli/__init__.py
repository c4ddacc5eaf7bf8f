"""Tests of `soapbatch.cli`."""
