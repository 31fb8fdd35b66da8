"""Refused jobs and shadows through the whole runtime: the queue on Redis, the log embedded and on Kafka (R6, R9, R10)."""

import asyncio
import json
import urllib.request
from contextlib import asynccontextmanager
from itertools import count

import pytest
from support.live import eventually
from support.redis_sites import redis_process

from forebay import Noted, Registry, Runtime
from forebay.actors.relay import detour
from forebay.backends.ports import Acks, JobState, NewRecord
from forebay.jobs.lanes import retry_mark

NUMBERS = count(1)
SMALLEST = 2**20  # bytes: the least that Redis lets `proto-max-bulk-len` be
LARGE = b'"' + b"x" * (SMALLEST + 1) + b'"'


class Site:
    """A running runtime, what its handler got, what its relay noted, and the Redis behind it."""

    def __init__(self, runtime, topic, handled, notes):
        self.runtime, self.topic, self.handled, self.notes = runtime, topic, handled, notes
        self.queue = runtime.queue(topic)

    async def redis(self, *words):
        return await self.queue._connection.command(*words)

    def key(self, name):
        return f"forebay:{{{self.topic}}}:{name}"

    async def until_handled(self, *ids):
        await eventually(lambda: self._handled(ids), 60)

    async def _handled(self, ids):
        return set(ids) <= self.handled.keys()

    async def parked(self):
        return {view.id: view for view in await self.queue.browse(self.topic, JobState.PARKED, 1000)}

    async def until_parked(self, count):
        async def there():
            return len(await self.parked()) == count

        await eventually(there, 60)
        return await self.parked()

    async def post(self, path, body):
        """What the console says."""
        url = await self.runtime.console_url()
        request = urllib.request.Request(f"{url}{path}", body, {"Content-Type": "application/json"})

        def ask():
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())

        return await asyncio.to_thread(ask)

    def noted(self, name):
        return [fields for noted, fields in self.notes if noted == name]


@pytest.fixture(params=["embedded", "kafka"])
def log(request):
    """The log's URL."""
    return request.getfixturevalue("kafka_cluster").url if request.param == "kafka" else "sqlite:"


@pytest.fixture
async def site(log, tmp_path, monkeypatch):
    monkeypatch.setattr(detour, "RETRY_AFTER", (0.05, 0.05, 0.1, 0.1))  # the same lane in less than three minutes
    topic = f"refused-{next(NUMBERS)}"  # Kafka is shared by tests
    async with redis_process(tmp_path / "redis") as server, running(tmp_path, topic, log, server.url) as opened:
        yield opened


@asynccontextmanager
async def running(folder, topic, log, queue):
    registry, handled, notes = Registry(), {}, []

    @registry.job("echo")
    async def echo(job):
        handled[job.id] = job.raw

    config = {
        "data": str(folder / "data"),
        "log": {"url": log},
        "queues": {"main": {"url": queue}},
        "topics": [{"name": topic, "partitions": 2}],
        "gate": False,
        "console": {"port": 0},
        "workers": {"slots": 4, "drain": "1s"},
    }
    runtime = Runtime.from_config(config, registry=registry)
    runtime.events.listen(lambda e: notes.append((e.name, dict(e.fields))) if isinstance(e, Noted) else None)
    async with runtime:
        opened = Site(runtime, topic, handled, notes)
        await runtime.enqueue("echo", id="first")
        await opened.until_handled("first")
        notes.clear()  # until then the Redis may not have been connected to yet
        yield opened


async def test_a_refused_job_in_every_batch_stalls_no_partition_and_runs_once_it_is_repaired(site):
    """R6: one job that breaks the writing script, one that no Redis of this setting takes, one that is no job."""
    await site.redis("CONFIG", "SET", "proto-max-bulk-len", SMALLEST)
    for number in range(4):
        await site.redis("HSET", site.key("firsts"), f"=ghost-{number}", "nobody")
    good = []
    for number in range(4):
        await site.runtime.enqueue("echo", number, id=f"refused-{number}", dedup=f"ghost-{number}")
        await site.runtime.enqueue("echo", raw=LARGE, id=f"large-{number}")
        await site.runtime.log.append([NewRecord(site.topic, number % 2, b"{broken")], Acks.LEADER)
        good += [f"good-{number}-{n}" for n in range(50)]
        await asyncio.gather(*(site.runtime.enqueue("echo", id=id_) for id_ in good[-50:]))
    await site.until_handled(*good)
    parked = await site.until_parked(12)

    by_error = {kind: [v for v in parked.values() if kind in v.error] for kind in ("script", "raise proto", "job document")}
    assert [len(views) for views in by_error.values()] == [4, 4, 4]
    assert all(view.id.startswith(f"{site.topic}.retry/") for view in by_error["script"])
    assert all(view.args == b"" for view in by_error["raise proto"])
    assert len(site.noted("put_back")) == 4 * len(detour.RETRY_AFTER)
    assert sum(note["records"] for note in site.noted("parked")) == 12
    assert not any("refused" in id_ or "large" in id_ for id_ in site.handled)

    await site.redis("CONFIG", "SET", "proto-max-bulk-len", 512 * SMALLEST)
    for number in range(4):
        await site.redis("HDEL", site.key("firsts"), f"=ghost-{number}")
    ids = [view.id for views in by_error.values() for view in views]
    answer = await site.post("/jobs/resubmit", json.dumps({"topic": site.topic, "ids": ids}).encode())
    assert (answer["count"], len(answer["refused"])) == (8, 4)
    await site.until_handled(*(f"{kind}-{number}" for kind in ("refused", "large") for number in range(4)))
    assert {site.handled[f"large-{number}"] for number in range(4)} == {LARGE}
    for view in by_error["job document"]:
        await site.post(f"/jobs/repair?topic={site.topic}&id={view.id}&type=echo", b'{"n": 9007199254740993}')
    await site.until_handled(*(view.id for view in by_error["job document"]))
    assert {site.handled[view.id] for view in by_error["job document"]} == {b'{"n": 9007199254740993}'}
    assert await site.parked() == {}
    assert site.noted("queue_away") == []


async def test_what_is_refused_for_a_while_runs_by_itself(site, monkeypatch):
    """R6: nobody has to do anything about what passes."""
    monkeypatch.setattr(detour, "RETRY_AFTER", (0.5, 2.0, 10.0, 10.0))
    await site.redis("HSET", site.key("firsts"), "=ghost", "nobody")
    await site.runtime.enqueue("echo", 7, id="refused", dedup="ghost")
    await eventually(lambda: put_back(site), 60)
    await site.redis("HDEL", site.key("firsts"), "=ghost")
    await site.until_handled("refused")
    assert site.handled["refused"] == b"7"
    assert await site.parked() == {}


async def put_back(site):
    return bool(site.noted("put_back"))


async def test_shadows_are_read_and_counted_and_nothing_of_them_reaches_the_queue(site):
    """R9: the relay obeys the record; the marks pass shadows, and live jobs beside them run."""
    for number in range(30):
        await site.runtime.enqueue("echo", id=f"shadow-{number}", shadow=True)
        await site.runtime.enqueue("echo", id=f"live-{number}")
    await site.until_handled(*(f"live-{number}" for number in range(30)))

    async def all_counted():
        return sum(note["records"] for note in site.noted("shadowed")) == 30

    await eventually(all_counted, 60)
    connection = await site.runtime.log.connect(site.topic)
    ends = {partition: extent.end for partition, extent in (await connection.extents()).items()}
    await connection.close()
    marks = await site.redis("HGETALL", site.key("marks"))
    assert {int(p): int(mark) for p, mark in zip(marks[::2], marks[1::2], strict=True) if int(p) < retry_mark(0)} == ends
    assert not any(id_.startswith("shadow") for id_ in site.handled)
    assert (await site.queue.counts("jobs")).unfinished == 0
