"""A FastAPI application that posts jobs to gates elsewhere: the client lives as long as the application.

    pip install fastapi
    GATES="http://gate-a:8080 http://gate-b:8080" ZONE=a uvicorn posting:app --app-dir examples

A request is answered when its job is durable. With the order's number as the job's id the request may come again, and the
order is one job while the first is unfinished.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from forebay.client import Client, PostError, Refused


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    gates = os.environ.get("GATES", "http://127.0.0.1:8080").split()
    async with Client(gates, zone=os.environ.get("ZONE")) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


def client_of(request: Request) -> Client:
    client: Client = request.app.state.client
    return client


@app.post("/orders/{order}", status_code=202)
async def place(order: int, client: Annotated[Client, Depends(client_of)]) -> dict[str, str]:
    try:
        receipt = await client.enqueue("order.bill", {"order": order}, id=f"bill-{order}", timeout=5)
    except Refused:
        raise  # a mistake of this program: no repetition makes it right
    except PostError as error:
        raise HTTPException(503, "try again with the same order", {"Retry-After": "1"}) from error
    return {"job": receipt.id}
