"""Tests of `soapbatch.auth`."""
