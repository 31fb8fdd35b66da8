"""A stop under load is no reason for a warning (A5, O5)."""

import asyncio

import pytest

from forebay import DeadLetter, Dropped, Registry, Runtime
from forebay.actors.exits import ActorError


@pytest.mark.parametrize("posting", [False, True], ids=["posts have ceased", "posts go on"])
async def test_an_orderly_stop_under_load_leaves_no_dead_letter(tmp_path, posting):
    registry, letters, answered = Registry(), [], []

    @registry.job("echo")
    async def echo(job):
        await asyncio.sleep(job.args)

    async def post(runtime):
        try:
            while True:
                answered.append(await runtime.enqueue("echo", len(answered) % 3 / 100))
        except ActorError:
            return  # it is stopping

    for number in range(5):
        config = {
            "data": str(tmp_path / str(number)),
            "topics": [{"name": "jobs", "partitions": 3}],
            "gate": False,
            "console": False,
            "workers": {"slots": 5, "drain": "1s"},
        }
        async with Runtime.from_config(config, registry=registry) as runtime:
            runtime.events.listen(lambda event: letters.append(event) if isinstance(event, DeadLetter | Dropped) else None)
            posts = [asyncio.create_task(post(runtime)) for _ in range(4)]
            while len(answered) < 100 * (number + 1):
                await asyncio.sleep(0.01)
            if not posting:
                for task in posts:
                    task.cancel()
        await asyncio.wait(posts)
    assert letters == []
