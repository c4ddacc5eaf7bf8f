"""Tests of `soapbatch.soap`."""
