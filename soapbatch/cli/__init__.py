"""The command `soapbatch`: what an operator does without writing Python.

`main` parses the command line by the table of commands (`command_line`; the rows stand in `job_rows` and
`server_rows`, made of `rows`) and runs one of them as an `Invocation`. Each family of commands has a module of
coroutine functions, which is imported when a command runs, so that `soapbatch --help` waits for nothing: `starting`,
`waiting`, `listing`, `removal`, `outputs` and `top` are about jobs; `login`, `calling`, `doctor` (its checks stand
in `checks`), `configuring`, `completion`, `demo`, `serve` and `pages` about all else.

Beneath them: `settings` (options, environment, profile; `config_file`), `passwords` (where secrets come from),
`connecting` (from settings to a client, with the ticket in a file that all invocations share), `output` (data to
standard output, talk to standard error; `jsonable`), and `exit_status`. `progress_bar` draws the progress of tasks.
"""

from soapbatch.cli.command_line import main as main
