"""A simulated cluster with one topic of one partition, for tests of what happens to it."""

import asyncio

from forebay.backends.ports import Acks, NewRecord, TopicSpec, Want
from forebay.scenarios.loop import running_loop
from forebay.scenarios.simulation.kafka import SimKafka
from forebay.scenarios.simulation.kafka_log import SimLog

TOPIC = "jobs"
HOUR = 3600.0


def spec(**more):
    return TopicSpec(
        **{"name": TOPIC, "partitions": 1, "retention": 10 * HOUR, "max_record": 1 << 20, "replication": 3, **more}
    )


async def open_log(kafka, host="a", **more):
    """A host's log, with the topic made."""
    log = SimLog(kafka, host)
    await log.start()
    await log.ensure([spec(**more)])
    return log


async def cluster(**more):
    """A cluster and the log of its host "a"."""
    loop = running_loop()
    options = {name: more.pop(name) for name in ("zones", "unclean", "latency") if name in more}
    kafka = SimKafka(loop.clock, loop.streams.stream("kafka"), **options)
    return kafka, await open_log(kafka, **more)


async def post(log, *values, acks=Acks.ALL):
    return list(await log.append([NewRecord(TOPIC, 0, value) for value in values], acks))


def visible(kafka):
    return [record.value for record in kafka.records(TOPIC, 0)]


async def read(connection, offset=0, wait=0.0):
    """What one fetch brings from an offset on: records, `OutOfRange`, or None."""
    return (await connection.fetch({0: Want(offset, 1000)}, wait)).get(0)


async def outcome(call):
    """What a call came to, the error where it raised one, and after how many seconds."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    (result,) = await asyncio.gather(call, return_exceptions=True)
    return result, loop.time() - begin
