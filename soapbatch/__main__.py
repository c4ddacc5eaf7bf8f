"""`python -m soapbatch` runs the command `soapbatch`."""

import sys

from soapbatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
