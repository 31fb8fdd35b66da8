"""A process that appends until it is killed: `python appender.py DATA NOTES`.

Every record's value is its own name. When the log has answered, the offset and the name go to NOTES in one write, so
that the notes of a killed process end with a whole line.
"""

import asyncio
import os
import sys
from itertools import count
from pathlib import Path
from random import Random

from forebay.backends.clock import SystemClock
from forebay.backends.ports import Acks, NewRecord, TopicSpec
from forebay.backends.sqlite import open_embedded

TOPIC = TopicSpec("jobs", partitions=2, retention=86_400.0, max_record=1 << 20)
CALLERS = 20


async def append_for_ever(data: Path, notes: int) -> None:
    """Append from several tasks at once, one record a call."""
    async with open_embedded(data, SystemClock(), Random(1)) as embedded:
        log = embedded.log
        await log.start()
        await log.ensure([TOPIC])

        async def caller(number: int) -> None:
            partition = number % TOPIC.partitions
            for n in count():
                name = f"{os.getpid()}-{number}-{n}"
                record = NewRecord(TOPIC.name, partition, name.encode())
                (offset,) = await log.append([record], Acks.ALL)
                os.write(notes, f"{partition} {offset} {name}\n".encode())

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))


if __name__ == "__main__":
    opened = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    asyncio.run(append_for_ever(Path(sys.argv[1]), opened))
