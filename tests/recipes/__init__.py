"""Recipes: complete small programs that each show one task. Copy one and change it.

    web_service         a FastAPI service: start, progress as server-sent events, output streamed, stop
    nightly_worker      a table of jobs, five at once; SIGTERM, and the next run takes over
    one_machine         jobs that survive their process, with a table of SQLite
    many_tenants        one job in each of many tenants of SuperOffice Online
    monitoring          a check for cron, Nagios or Icinga
    notify_on_failure   a message to a webhook for each job that has failed
    notebook            a Jupyter notebook: start, watch, read the output, list tasks
    pandas_table        tasks as a DataFrame

Each has a test beside it, which runs the program as it stands.
"""
