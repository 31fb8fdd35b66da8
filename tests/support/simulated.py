"""A small simulated system for tests: two hosts, one topic, a Redis that holds its jobs."""

import asyncio
from itertools import groupby

from forebay.config import from_mapping
from forebay.scenarios.loop import run as run_virtual
from forebay.scenarios.loop import running_loop
from forebay.scenarios.simulation.world import World

TOPIC = "jobs"
HORIZON = 20_000.0

SETTINGS = {
    "log": {"url": "kafka://kafka:9092"},
    "coordination": {"url": "consul://consul:8500"},
    "queues": {"main": {"url": "redis://redis:6379"}},
    "topics": [{"name": TOPIC, "partitions": 3, "acks": "all"}],
    "workers": {"slots": 8, "lease": "10s", "drain": "5s"},
    "gate": False,
    "console": False,
}


def config(**settings):
    return from_mapping({**SETTINGS, **settings}, environ={})


def run(main, *args, seed=0, explore=True, **settings):
    """Run `main(world, *args)` in a world of two hosts, and return the world when all of it has stopped."""

    async def inside():
        async with World(config(**settings)) as world:
            await main(world, *args)
        return world

    return run_virtual(inside, seed=seed, explore=explore, horizon=HORIZON)


async def load(world, jobs, every=0.02, **args):
    """Post jobs through the hosts in turn, one every so often; what is not accepted is posted again under its id."""
    names, posts = list(world.hosts), []
    for number in range(jobs):
        posts.append(asyncio.ensure_future(post(world, f"{number:05}", names[number % len(names)], **args)))
        await asyncio.sleep(every)
    for one in posts:
        await one


async def post(world, id_, host, **args):
    """As a client does: again, until there is a positive answer."""
    while (await world.post(args, id=id_, host=host)).answer.value != "accepted":
        host = next(name for name in [*world.hosts, *world.hosts] if name != host)
        await asyncio.sleep(0.5)


def loading(world, jobs, **options):
    return asyncio.ensure_future(load(world, jobs, **options))


def relay_of(world, topic=TOPIC):
    """The host that has the topic's newest term."""
    return world.redis["main"].written[-1].host


async def relaying(world):
    """Wait until a range was written; return the name of its writer."""
    await world.until(lambda: world.redis["main"].written)
    return relay_of(world)


def writers(world):
    """Who wrote, in order, each as often as there was another in between."""
    return [name for name, _ in groupby(one.host for one in world.redis["main"].written)]


def check_one_writer(world):
    """In one memory no older term wrote after a newer one; a range begins where the last one ended that is not lost."""
    redis = world.redis["main"]
    newest, place = {}, {}
    for one in redis.written:
        assert one.token >= newest.get(one.epoch, (0, 0)), one
        newest[one.epoch] = one.token
        losses = sum(lost <= one.at for lost in redis.losses)
        assert one.start == place.get((losses, one.partition), one.start), one
        place[losses, one.partition] = one.to


async def all_done(world, within=600.0):
    """Wait until every accepted job was finished, the queue is empty and the log read to its end."""
    await world.until(lambda: not world.book.unfinished() and settled(world), within)


def settled(world):
    return world.counts(TOPIC).unfinished == 0 and world.lag(TOPIC) == 0


def takeover(seed):
    """A run in which the holder is killed under load."""

    async def main(world):
        posting = loading(world, 60, seconds=0.2)
        world.hosts[await relaying(world)].kill()
        await posting
        await all_done(world)

    return run(main, seed=seed)


def now():
    return running_loop().time()
