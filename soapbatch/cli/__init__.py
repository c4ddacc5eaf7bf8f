"""The command `soapbatch`.

`main` parses the arguments, runs one command and returns the exit status (`command_line`). Each command has a
module of its own, such as `demo`, which is imported when the command runs: `soapbatch --help` need not wait for it.
`progress_bar` draws the progress of tasks.
"""

from soapbatch.cli.command_line import main as main
