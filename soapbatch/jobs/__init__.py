"""Jobs: start them, wait for them, watch and stop them, and know what became of each. `client.jobs`.

    job = await client.jobs.start("ExportArchiveBatchPlugin", parameters={"...": "..."}, description="Nightly export")
    info = await job.wait(timeout=3600, on_progress=show)

Built on the typed operations and nothing else: whatever it does could be written by hand with `client.batch`.

There are three kinds of cancel. Cancelling a `wait` leaves the server's job running. `stop` asks the server to stop
it. Leaving the block of `run` early stops it too.
"""

from soapbatch.jobs.job import Job as Job
from soapbatch.jobs.jobs import Jobs as Jobs
from soapbatch.jobs.outcome import Outcome as Outcome
from soapbatch.jobs.schedule import Polling as Polling
from soapbatch.jobs.start import Marker as Marker, StartOptions as StartOptions
