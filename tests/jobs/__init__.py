"""Tests of `soapbatch.jobs`."""
