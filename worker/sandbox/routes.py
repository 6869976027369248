"""The Starlette app: requests off the wire, answers onto it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from worker.sandbox.answers import Answer, error_answer
from worker.sandbox.faults import FaultRates
from worker.sandbox.identity import PATH, Signed, identity
from worker.sandbox.options import SandboxOptions, StartQuota
from worker.sandbox.switchboard import Switchboard
from worker.seldom import Seldom

log = logging.getLogger(__name__)

_Model = TypeVar("_Model", bound=BaseModel)

HANG_UP = "hang_up"
"""The key under which the server's connections offer to close themselves (see server.Line)."""


class HangUp(Response):
    """No response: the connection is closed under the caller's feet."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        scope["state"][HANG_UP]()
        # Returning earlier would make uvicorn say 500 into a connection that is about to close.
        while (await receive())["type"] != "http.disconnect":
            pass


def create_app(
    options: SandboxOptions,
    clock: Callable[[], float] = time.time,
    quota_clock: Callable[[], float] | None = None,
) -> Starlette:
    """The stand-in as an ASGI app. `clock` gives seconds since 1970; `quota_clock` those of the quotas.

    Whoever serves it sets `app.state.stopping` (an asyncio.Event), then closes `app.state.switchboard`.
    Raises Mistake if the journal cannot be used.
    """
    switchboard = Switchboard(options, clock, quota_clock)
    stopping = asyncio.Event()
    run_id, numbers = str(uuid4())[:24], count()
    seldom = Seldom()

    async def send(answer: Answer) -> Response:
        wait = answer.wait_seconds + options.latency_seconds
        if wait and await _happens(stopping, wait):
            return HangUp()
        if answer.status is None:
            return HangUp()
        headers = {"x-amzn-RequestId": f"{run_id}{next(numbers):012x}"}
        if answer.error:
            headers["x-amzn-ErrorType"] = answer.error
        body = json.dumps(answer.content, separators=(",", ":"))
        return Response(body, answer.status, headers, media_type="application/json")

    async def start(request: Request) -> Response:
        return await send(switchboard.start_outbound(await request.body()))

    async def describe(request: Request) -> Response:
        return await send(
            switchboard.describe(request.path_params["instance"], request.path_params["contact"])
        )

    async def search(request: Request) -> Response:
        return await send(switchboard.search(await request.body()))

    async def stop(request: Request) -> Response:
        return await send(switchboard.stop(await request.body()))

    async def stats(_: Request) -> Response:
        return JSONResponse(switchboard.stats())

    async def calls(_: Request) -> Response:
        return StreamingResponse(_batched(switchboard.call_lines()), media_type="application/x-ndjson")

    async def who(_: Request) -> Response:
        return JSONResponse(identity(options.speed))

    async def faults(request: Request) -> Response:
        rates = await _posted(request, FaultRates)
        if isinstance(rates, Response):
            return rates
        if rates:
            switchboard.set_faults(rates)
        return JSONResponse(switchboard.faults.rates.model_dump())

    async def quota(request: Request) -> Response:
        wanted = await _posted(request, StartQuota)
        if isinstance(wanted, Response):
            return wanted
        if wanted:
            switchboard.change_quota(wanted)
        return JSONResponse(switchboard.quota.model_dump())

    async def unknown(request: Request, _: Exception) -> Response:
        said = f"The sandbox does not know {request.method} {request.url.path}"
        return await send(error_answer(404, "UnknownOperationException", said))

    async def full(_: Request, error: Exception) -> Response:
        # Caught here, or the answer would come from outside of `Signed`, and not look like the stand-in's.
        reason = error.strerror if isinstance(error, OSError) else None
        if seldom.due("journal"):
            log.error("the sandbox cannot write its journal: %s", reason)
        said = f"The sandbox cannot write its journal: {reason}"
        return await send(error_answer(500, "InternalServiceException", said))

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # Into the void: the caller left in the middle of the request.

    app = Starlette(
        routes=[
            Route("/contact/outbound-voice", start, methods=["PUT"]),
            Route("/contacts/{instance}/{contact}", describe, methods=["GET"]),
            Route("/search-contacts", search, methods=["POST"]),
            Route("/contact/stop", stop, methods=["POST"]),
            *([] if options.incognito else [Route(PATH, who, methods=["GET"])]),
            Route("/_sandbox/stats", stats, methods=["GET"]),
            Route("/_sandbox/calls", calls, methods=["GET"]),
            Route("/_sandbox/faults", faults, methods=["GET", "POST"]),
            Route("/_sandbox/quota", quota, methods=["GET", "POST"]),
        ],
        exception_handlers={404: unknown, 405: unknown, ClientDisconnect: gone, OSError: full},
    )
    if not options.incognito:
        app.add_middleware(Signed)
    app.state.switchboard = switchboard
    app.state.stopping = stopping
    return app


async def _posted(request: Request, model: type[_Model]) -> _Model | Response | None:
    """What was posted; 400 with the reasons if it cannot be; None for a GET."""
    if request.method != "POST":
        return None
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        reasons = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        return JSONResponse({"Message": "; ".join(reasons)}, 400)


async def _happens(event: asyncio.Event, within_seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), within_seconds)
    except TimeoutError:
        return False
    return True


async def _batched(lines: Iterator[str]) -> AsyncIterator[str]:
    """A thousand lines a chunk, so that calls are answered between the chunks of a long list."""
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == 1000:
            yield "".join(batch)
            batch.clear()
    yield "".join(batch)
