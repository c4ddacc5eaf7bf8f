"""Tests of `soapbatch.model`."""
