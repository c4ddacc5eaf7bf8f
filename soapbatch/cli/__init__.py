"""The command `soapbatch`."""

from soapbatch.cli.demo import main as main
