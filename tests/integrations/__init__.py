"""The tests of `soapbatch.integrations`."""
