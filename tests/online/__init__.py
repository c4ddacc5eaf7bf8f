"""Tests of `soapbatch.online`."""
