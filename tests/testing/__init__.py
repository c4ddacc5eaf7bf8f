"""Tests of `soapbatch.testing`."""
