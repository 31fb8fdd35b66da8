"""A relay on a real Redis that forgets, lags after a failover, or fills (R14, R8, R4, Q6).

The tree is the whole one, without workers; the test claims and ends jobs in their place.
"""

import asyncio
from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest
from support.live import eventually
from support.live import running as servers_running
from support.redis_sites import open_queue

from forebay import Noted, Runtime
from forebay.actors.relay.settled_marks import SNAPSHOT_INTERVAL
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Acks, Done, Lease, NewRecord
from forebay.jobs import JobPost, encode
from forebay.scenarios.servers.proxy import Proxy

PARTITIONS = 2


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Servers of this module's own, for it does them harm."""
    with servers_running("redis", tmp_path_factory) as found:
        yield found.redis


class Relay:
    """A runtime that relays `jobs`, and a hand in the queue behind it. Job ids are their numbers."""

    def __init__(self, runtime, queue):
        self.runtime, self.queue = runtime, queue
        self.sequence, self.posted = count(1), 0

    async def post(self, number, args=b"{}"):
        records = []
        for id_ in range(self.posted, self.posted + number):
            value, headers = encode(JobPost(type="t", args=args), id_=str(id_), enqueued_at=0)
            records.append(NewRecord("jobs", id_ % PARTITIONS, value, headers=headers))
        await self.runtime.log.append(records, Acks.LEADER)
        self.posted += number

    async def claim(self, limit):
        return await self.queue.claim("jobs", Lease("hand", next(self.sequence), 3600), limit)

    async def end(self, claims):
        assert all(await self.queue.end("jobs", "hand", [Done(c.id, c.epoch) for c in claims]))
        return {c.id for c in claims}

    async def pending(self):
        return (await self.queue.counts("jobs")).pending

    async def until_pending(self, number):
        async def there():
            with suppress(Unavailable):
                return await self.pending() >= number
            return False

        await eventually(there, 60)

    async def everything(self):
        """Claim and end all that comes until nothing has come for a while; return how often each id came."""
        came = {}
        while await self.queue.wait(["jobs"], 2 * SNAPSHOT_INTERVAL):
            claims = await self.claim(1000)
            for one in claims:
                came[one.id] = came.get(one.id, 0) + 1
            await self.end(claims)
        return came


@asynccontextmanager
async def relaying(folder, url, rate="20000/s"):
    settings = {
        "data": str(folder),
        "queues": {"main": {"url": url}},
        "topics": [{"name": "jobs", "partitions": PARTITIONS, "rate": rate}],
        "lock": {"ttl": "2s", "lock_delay": "100ms"},
        "gate": False,
        "workers": False,
        "console": False,
    }
    async with Runtime.from_config(settings) as runtime:
        notes = []
        runtime.events.listen(lambda event: notes.append(event) if isinstance(event, Noted) else None)
        queue = await open_queue(url)
        relay = Relay(runtime, queue)
        relay.notes = lambda name: [dict(note.fields) for note in notes if note.name == name]
        try:
            yield relay
        finally:
            await queue.stop()


@pytest.fixture
async def main(servers):
    """An empty primary without a limit."""
    await servers.main.wipe()
    await servers.main.start()
    yield servers.main
    await servers.main.limit_memory(0)


async def test_a_redis_replaced_by_an_empty_one_gets_all_that_had_not_ended_and_no_more(tmp_path, main):
    async with relaying(tmp_path, main.url) as relay:
        await relay.post(1000)
        await relay.until_pending(1000)
        in_flight = await relay.claim(600)
        ended = await relay.end(in_flight[:400])
        await asyncio.sleep(SNAPSHOT_INTERVAL * 1.5)  # the promise is about the time of a snapshot
        late = await relay.end(in_flight[400:450])
        await main.wipe()
        await main.start()
        await relay.until_pending(550)
        came = await relay.everything()
        every = {str(number) for number in range(1000)}
        assert every - ended - late <= came.keys() <= every - ended
        assert set(came.values()) == {1}
        assert len(relay.notes("restored")) == PARTITIONS


@pytest.mark.long
async def test_a_redis_that_was_flushed_while_it_ran_is_refilled_although_nothing_new_comes(tmp_path, main):
    async with relaying(tmp_path, main.url) as relay:
        await relay.post(500)
        await relay.until_pending(500)
        await relay.claim(100)
        async with main.client() as client:
            await client.flushall()
        await relay.until_pending(500)
        assert len(await relay.everything()) == 500


async def test_a_failover_to_a_replica_that_lags_loses_nothing(tmp_path, servers, main):
    await servers.replica.wipe()
    await servers.replica.start()
    await servers.replica.follow(main)
    async with Proxy(main.port) as proxy, relaying(tmp_path, f"redis://127.0.0.1:{proxy.port}") as relay:
        await relay.post(300)
        await relay.until_pending(300)
        ended = await relay.end(await relay.claim(100))

        async def caught_up():
            async with servers.replica.client() as client:
                return len(await client.hgetall("forebay:{jobs}:states")) == 200

        await eventually(caught_up)
        await servers.replica.promote()  # from here on it knows nothing of what the primary does
        await relay.post(300)
        await relay.until_pending(500)
        ended_late = await relay.end(await relay.claim(100))
        proxy.target = servers.replica.port
        await main.kill()
        await relay.until_pending(500)
        came = await relay.everything()
        assert came.keys() >= {str(number) for number in range(600)} - ended - ended_late
        assert not came.keys() & ended
        assert set(came.values()) == {1}
    await servers.replica.wipe()


@pytest.mark.long
async def test_the_relay_stops_before_redis_refuses_a_write_and_goes_on_when_there_is_room(tmp_path, main):
    """R8: nobody acts; the queue is never full, and everything arrives."""
    async with main.client() as client:
        used = (await client.info("memory"))["used_memory"]
    await main.limit_memory(used + (24 << 20))
    async with relaying(tmp_path, main.url, rate="4000/s") as relay:  # a sixth of the memory in a second: see LOOK
        for _ in range(30):
            await relay.post(1000, b'"%s"' % (b"x" * 1000))

        async def stands():
            before = await relay.pending()
            await asyncio.sleep(1.0)
            return bool(before) and await relay.pending() == before

        await eventually(stands, 60)
        held = await relay.pending()
        assert held < relay.posted
        assert 0.0 < await relay.queue.headroom() <= 0.11
        came = await relay.everything()
        assert len(came) == relay.posted
        assert set(came.values()) == {1}
        assert relay.notes("queue_away") == []  # as it would be noted if Redis had refused a write for want of room
        assert relay.notes("queue_filling")
        assert relay.notes("queue_has_room")
