"""Tests of `soapbatch.soap.fast`."""
