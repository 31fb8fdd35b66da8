"""The plain loop that the relay is measured against: `python bench/relay/plain.py BROKERS REDIS_URL list|hash`.

What anyone would write in an afternoon: read a batch, decode it, one Lua call, commit now and then. It has no lock, no
fence, no marks, no limits, no dedup and no supervision, and a crash repeats whatever it did since its last commit. `list`
pushes the jobs to a list; `hash` puts them into a hash and a sorted set, the least that jobs with ids and delays need.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis
from stage import PARTITIONS, TOPIC

BATCH: Final = 500
COMMIT_INTERVAL: Final = 5.0
"""Seconds between commits, the relay's own interval."""

SCRIPTS: Final = {
    "list": """
        for i = 1, #ARGV, 3 do redis.call('RPUSH', KEYS[1], ARGV[i + 2]) end
    """,
    "hash": """
        for i = 1, #ARGV, 3 do
          redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
          redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
        end
    """,
}
PENDING: Final = "plain:pending"
BODIES: Final = "plain:bodies"

_pack: Final = msgspec.msgpack.Encoder().encode


def words(record: Any) -> tuple[str, int, bytes]:
    """A job's id, its time, and what its worker gets."""
    headers = dict(record.headers)
    job, at = headers["forebay-id"].decode(), int(headers["forebay-enqueued-at"])
    return job, at, _pack((headers["forebay-type"].decode(), at, record.value))


async def main(brokers: str, url: str, how: str) -> None:
    """Relay for ever."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers.split(","), group_id="plain", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    places = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    script = Redis.from_url(url).register_script(SCRIPTS[how])
    committed = time.monotonic()
    while True:
        found = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
        arguments = [word for records in found.values() for record in records for word in words(record)]
        if arguments:
            await script(keys=[PENDING, BODIES], args=arguments)
            if time.monotonic() - committed >= COMMIT_INTERVAL:
                await consumer.commit()
                committed = time.monotonic()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
