"""The tests of soapbatch."""
