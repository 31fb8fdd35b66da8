"""The jobs: records as the gate writes them, with an id, a dedup id and some 200 bytes of arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Final

from stage import PARTITIONS, TOPIC, Failed

from forebay.actors.gate.records import record_for
from forebay.backends.clock import SystemClock
from forebay.backends.kafka import KafkaLog
from forebay.backends.ports import Acks, NewRecord, TopicSpec
from forebay.config import TopicConfig
from forebay.jobs import new_ulid, parse_post

APPEND: Final = 2_000
RETENTION: Final = 48 * 3600.0


async def fill(servers: str, jobs: int) -> None:
    """Make the topic and append `jobs` records; nothing is done if they are there. Raises `Failed` if others are there."""
    log = KafkaLog(servers, SystemClock())
    await log.start()
    try:
        await log.ensure([TopicSpec(TOPIC, PARTITIONS, RETENTION, 8 << 20)])
        connection = await log.connect(TOPIC)
        there = sum(extent.end for extent in (await connection.extents()).values())
        await connection.close()
        if there not in (0, jobs):
            raise Failed(f"topic {TOPIC!r} has {there} records, not {jobs}: take other servers, or --jobs {there}")
        if there == 0:
            records = list(_records(jobs))
            for first in range(0, jobs, APPEND):
                await log.append(records[first : first + APPEND], Acks.ALL)
    finally:
        await log.stop()


def _records(jobs: int) -> Iterator[NewRecord]:
    random, topics = Random(1), (TopicConfig(name=TOPIC, partitions=PARTITIONS),)
    start = SystemClock().wall()
    for number in range(jobs):
        args = {
            "user": number,
            "to": f"user{number}@example.org",
            "template": "welcome",
            "locale": "en",
            "params": {
                "name": "A reader of mails",
                "note": "and some more words, so that it has the length of an ordinary job",
            },
        }
        post = parse_post(json.dumps({"type": "mail.send", "dedup": True, "args": args}).encode())
        now = start + number // 100
        yield record_for(post, topic=TOPIC, topics=topics, now=now, new_id=lambda now=now: new_ulid(now, random)).record
