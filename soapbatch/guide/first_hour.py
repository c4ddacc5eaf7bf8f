"""The first hour: from nothing to a job that you watch, on an embedded server first, then on your own.

You need Python 3.11 or later. Nothing here needs a SuperOffice until the last step.


1. Install, and see it work
---------------------------

    $ python3 -m venv .venv
    $ .venv/bin/pip install "path/to/the/checkout[cli,demo]"     # it is not on a package index yet
    $ .venv/bin/soapbatch demo

The demo starts a NetServer inside its own process, logs in, starts a batch job, waits for it with a progress bar, and
reads its output.


2. A server to play with
------------------------

In another terminal, and leave it running:

    $ soapbatch serve --port 8080

It answers as a NetServer does: user demo, password demo. Two of its jobs are ExportArchiveBatchPlugin, which takes six
seconds and has an output, and FailingBatchPlugin, which fails.


3. A first program
------------------

    import asyncio

    from soapbatch import Client, UsernamePassword


    async def main(url: str = "http://127.0.0.1:8080") -> None:
        async with Client(url, credentials=UsernamePassword("demo", "demo")) as client:
            job = await client.jobs.start("ExportArchiveBatchPlugin", description="My first job")
            async for info in job.watch():
                print(info.id, info.state, info.progress_percent, info.progress_description)
            print(await job.output())

Save it with a last line `asyncio.run(main())`, and run it. Each change of the task is a line; the last line is the
output. The states are those of this picture:

![The states of a job](job_states.svg)

The client logs in when the first call needs it, and closes what it has opened when the block ends. Now let a job fail:

    from soapbatch import JobFailed


    async def failing(url: str = "http://127.0.0.1:8080") -> None:
        async with Client(url, credentials=UsernamePassword("demo", "demo")) as client:
            job = await client.jobs.start("FailingBatchPlugin")
            try:
                await job.wait(timeout=60)
            except JobFailed as error:
                print(f"task {error.id}: {error.info.result}")

`soapbatch help errors` lists what else can be raised, and what to do about each.


4. The same from the shell
--------------------------

    $ export SOAPBATCH_URL=http://127.0.0.1:8080
    $ soapbatch login --user demo
    $ soapbatch list --all
    $ soapbatch run ExportArchiveBatchPlugin -O export.csv


5. Your own server: what to ask its administrator
-------------------------------------------------

| ask for | why |
|---|---|
| the URL of the web services, up to `/Remote/Services88` | the base URL; a tenant of SuperOffice Online has none |
| the newest `Services` folder, for example Services88 | older ones lack operations: outputs came with Services88 |
| a user of its own for your program, and its password | a person's password changes, and its rights are too wide |
| the right to start batch tasks, and to see those of others if you want to | else lists show your own tasks alone |
| whether the installation wants an application token | `application_token=`; Online always wants one |
| the names of the jobs, and the parameters of each | no operation lists them |
| whether the batch service runs, and on how many machines | without it each task stays New |
| how long finished tasks and outputs are kept | a task that was removed is `JobGone` |
| the certificate of a private authority; a proxy | `verify=`, `proxy=` |

`soapbatch help on_site` goes on from here, or `soapbatch help online` for SuperOffice Online.


6. On your own server
---------------------

    $ soapbatch login --url https://crm.example.com/SuperOffice --user svc-batch
    $ soapbatch doctor                                           # each step between here and the list of tasks
    $ soapbatch list --all                                       # reads, and changes nothing

Start a job only when these three work, and choose one that does no harm when it runs twice.


What to read next
-----------------

`soapbatch help jobs` says how no job runs twice, and what a wait costs. `soapbatch help testing` tests your program
without a server. Complete programs to copy are in `tests/recipes` of the sources.
"""
