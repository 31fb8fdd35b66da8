"""A FastAPI application that has its job queue inside: the runtime lives as long as the application.

    pip install fastapi
    uvicorn fastapi_app:app --app-dir examples

The loop, the signals and the logging stay uvicorn's. A job is durable when `POST /orders` answers, and runs after that, also
if the process is killed in between and started again.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from forebay import JobContext, JobRuntime, Registry, Runtime

registry = Registry()
billed: list[int] = []


@registry.job("order.bill")
async def bill(job: JobContext) -> None:
    billed.append(job.args["order"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    config = {"data": os.environ.get("DATA", "./data"), "gate": False, "console": False, "workers": {"slots": 4}}
    async with Runtime.from_config(config, registry=registry) as runtime:
        app.state.runtime = runtime
        yield


app = FastAPI(lifespan=lifespan)


def running(request: Request) -> JobRuntime:
    runtime: JobRuntime = request.app.state.runtime
    return runtime


@app.post("/orders/{order}", status_code=202)
async def place(order: int, runtime: Annotated[JobRuntime, Depends(running)]) -> dict[str, str]:
    accepted = await runtime.enqueue("order.bill", {"order": order}, id=f"bill-{order}")
    return {"job": accepted.id}


@app.get("/billed")
async def show() -> list[int]:
    return billed
