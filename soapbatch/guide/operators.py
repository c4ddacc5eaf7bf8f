"""The command line: what an operator does without writing Python.

    $ pip install "soapbatch[cli]"
    $ soapbatch login --url https://crm.example.com/SuperOffice --user ada   # asks for the password; keeps the ticket
    $ soapbatch list --all --running                      # what hangs?
    $ soapbatch top                                       # the same, live: bars, pace, estimated end
    $ soapbatch show 42                                   # why?
    $ soapbatch stop 42                                   # asks first; -y in scripts
    $ soapbatch run ExportArchiveBatchPlugin -p archive=contacts -O contacts.csv   # start, wait, save, clean up
    $ soapbatch doctor                                    # when nothing works: name, TLS, proxy, login, rights
    $ soapbatch help                                      # pages to read, such as this one: help operators


In scripts
----------

Data goes to standard output and everything else to standard error; `-o json` prints JSON with `"schema": 1`.

    $ soapbatch start ExportArchiveBatchPlugin --key export-2026-11-26        # once, however often it runs
    $ soapbatch wait 42 --timeout 2h
    $ soapbatch output 42 -O export.csv
    $ soapbatch list --name ExportArchiveBatchPlugin --running -o ids         # | xargs soapbatch stop -y
    $ soapbatch delete --state Failed --older-than 30d --dry-run

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | the job failed, or the server reports an error |
| 2 | usage or settings |
| 3 | no such task, or no output |
| 4 | time is up: the job runs on |
| 5 | refused: the login, a right, or the task |
| 6 | no answer, and nothing was applied |
| 7 | unknown: look before you repeat |
| 8 | partly: some tasks worked and some did not |
| 130 | interrupted: the job runs on |
| 141 | standard output was closed |


Settings
--------

They come from options, `SOAPBATCH_*`, and the profile (`soapbatch config set`, `--profile`), in this order. Passwords
are never arguments: `--password-stdin`, `password_command`, the keyring (`soapbatch[keyring]`), or a question.
`eval "$(soapbatch completion bash)"` completes commands, profiles, states and operations.
"""
