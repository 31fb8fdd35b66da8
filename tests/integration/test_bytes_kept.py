"""What was posted is what the handler gets, byte for byte (R10, invariant `bytes-kept`)."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from forebay.jobs import Registry
from forebay.supervisors.runtime import Runtime

ARGS = [
    rb'{"html": "<a href=\"\/x\">&amp;</a>", "slash": "a/b\/c"}',
    '{"raw": "é ü 漢字 🎣", "escaped": "\\u00e9 \\ud83c\\udfa3"}'.encode(),
    b'{"big": 9007199254740993, "negative_zero": -0, "exponent": 1E+2, "long": 0.1000000000000000055511151231257827}',
    b'{"twice": 1, "twice": 2, "nested": {"a": 1, "a": [1, 2 , 3]}}',
    b'[ 1,\t2 ,\n {"spaces" :   "kept"} ]',
    b'{"text": "' + b"0123456789abcdef" * 65_536 + b'"}',
    b"null",
    b'"just text"',
]


@pytest.fixture
async def runtime(tmp_path):
    registry = Registry()
    received = {}

    @registry.job("keep")
    async def keep(ctx):
        received[ctx.id] = ctx.raw

    config = {"data": str(tmp_path / "data"), "gate": {"port": 0}, "console": False, "workers": {"slots": 4}}
    runtime = Runtime.from_config(config, registry=registry)
    runtime.received = received
    async with runtime:
        yield runtime


async def until_received(runtime, ids):
    async with asyncio.timeout(20):
        while not set(ids) <= set(runtime.received):
            await asyncio.sleep(0.01)


async def test_arguments_posted_over_http_reach_the_handler_unchanged(runtime):
    async with httpx.AsyncClient(base_url=await runtime.gate_url()) as client:
        sent = {}
        for args in ARGS:
            body = b'{"type": "keep", "args": ' + args + b"}"
            answer = await client.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 202, answer.text
            sent[answer.json()["id"]] = args
    await until_received(runtime, sent)
    assert runtime.received == sent


async def test_arguments_of_a_raw_record_reach_the_handler_unchanged(runtime):
    async with httpx.AsyncClient(base_url=await runtime.gate_url()) as client:
        sent = {}
        for number, args in enumerate(ARGS):
            body = b'{"id": "raw-%d", "type": "keep", "args":  ' % number + args + b" }"
            answer = await client.post(f"/v1/topics/jobs/partitions/{number}", content=body)
            assert answer.status_code in (200, 201, 202), answer.text
            sent[f"raw-{number}"] = args
    await until_received(runtime, sent)
    assert runtime.received == sent


async def test_embedded_posts_keep_raw_text_and_refuse_more_than_one_value(runtime):
    job = await runtime.enqueue("keep", raw=b' {"n":  -0} ')
    await until_received(runtime, [job.id])
    assert runtime.received[job.id] == b'{"n":  -0}'
    with pytest.raises(ValueError, match="one JSON value"):
        await runtime.enqueue("keep", raw=b'1, "id": "smuggled"')


async def test_embedded_posts_refuse_what_the_gate_refuses(runtime):
    with pytest.raises(ValueError, match="surrogate"):
        await runtime.enqueue("keep", {"text": "\ud83c"})
    with pytest.raises(ValueError, match="no handler of job type 'unheard'"):
        await runtime.enqueue("unheard")
