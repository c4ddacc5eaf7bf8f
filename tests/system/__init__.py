"""Tests of `soapbatch.system`."""
