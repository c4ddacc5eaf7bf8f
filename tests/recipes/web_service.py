"""A web service that starts jobs, shows their progress as server-sent events, hands out outputs, and stops jobs.

    SOAPBATCH_URL=... SOAPBATCH_USER=... SOAPBATCH_PASSWORD_FILE=... uvicorn web_service:app

The client lives as long as the application. Each error of soapbatch is one JSON object, with an HTTP status that says
whose turn it is. A browser that goes away ends its own wait; the job runs on.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse, StreamingResponse

from soapbatch import Client, SoapBatchError
from soapbatch.errors import JobError, JobGone, TransportError, UsageError
from soapbatch.jobs import Jobs


def status_of(error: SoapBatchError) -> int:
    """Return the HTTP status that tells the caller whose turn it is."""
    match error:
        case JobGone():
            return 404
        case JobError():
            return 409
        case UsageError():
            return 400
        case TransportError():
            return 504
        case _:
            return 503 if error.retryable else 502


def plain(error: SoapBatchError) -> dict[str, str]:
    """Return an error as JSON has it."""
    return {"error": type(error).__name__, "message": str(error), "applied": error.applied}


async def report(_: Request, error: Exception) -> JSONResponse:
    """Answer with an error as JSON."""
    assert isinstance(error, SoapBatchError)
    return JSONResponse(plain(error), status_of(error))


def jobs_of(request: Request) -> Jobs:
    """Return the client's jobs."""
    client: Client = request.app.state.client
    return client.jobs


routes = APIRouter()


@routes.post("/jobs/{name}", status_code=202)
async def start(
    name: str,
    parameters: Annotated[dict[str, str], Body()],
    idempotency_key: Annotated[str, Header()],
    jobs: Annotated[Jobs, Depends(jobs_of)],
) -> dict[str, int]:
    """Start a job; who asks again with the same key gets the same job."""
    job = await jobs.find(name, idempotency_key)
    if job is None:
        job = await jobs.start(name, parameters=parameters, key=idempotency_key)
    return {"id": job.id}


@routes.get("/jobs/{id}")
async def show(id: int, jobs: Annotated[Jobs, Depends(jobs_of)]) -> dict[str, Any]:
    """Show all that the server says of a task."""
    return (await jobs.attach(id).info()).to_dict()


@routes.get("/jobs/{id}/events")
async def watch(id: int, jobs: Annotated[Jobs, Depends(jobs_of)]) -> StreamingResponse:
    """Send an event at each change, until the job ends; an error on the way is an event named error."""
    changes = jobs.attach(id).watch(timeout=None)
    first = await anext(changes)  # until here an error can still be an answer of its own

    async def events() -> AsyncIterator[str]:
        async with contextlib.aclosing(changes):
            yield f"data: {json.dumps(first.to_dict())}\n\n"
            try:
                async for info in changes:
                    yield f"data: {json.dumps(info.to_dict())}\n\n"
            except SoapBatchError as error:
                yield f"event: error\ndata: {json.dumps(plain(error))}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@routes.get("/jobs/{id}/output")
async def output(id: int, jobs: Annotated[Jobs, Depends(jobs_of)]) -> StreamingResponse:
    """Send the output as it comes, in constant memory."""
    pieces = jobs.attach(id).stream_output()
    first = await anext(pieces, b"")  # until here an error can still be an answer of its own

    async def all_pieces() -> AsyncIterator[bytes]:
        yield first
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    return StreamingResponse(all_pieces(), media_type="application/octet-stream")


@routes.delete("/jobs/{id}")
async def stop(id: int, jobs: Annotated[Jobs, Depends(jobs_of)]) -> dict[str, bool]:
    """Stop a job; false: it has ended already."""
    return {"stopped": await jobs.attach(id).stop()}


def make_app(connect: Callable[[], Client] = Client.from_env) -> FastAPI:
    """Return the application; `connect` makes its client when it begins."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with connect() as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan, exception_handlers={SoapBatchError: report})
    app.include_router(routes)
    return app


app = make_app()
