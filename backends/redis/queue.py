"""The `Queue` port on one Redis (6.2 or newer, no cluster)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from redis.asyncio import Redis

from forebay.backends.checkpoints import Checkpoint, Checkpoints
from forebay.backends.ends import MAX_BYTES, End
from forebay.backends.errors import FenceMissing, MarkMismatch, StaleToken, Unavailable
from forebay.backends.ports import (
    Claim,
    Clock,
    Counts,
    JobState,
    JobView,
    Lease,
    Mark,
    Moved,
    Outcome,
    ParkedRecord,
    Planted,
    QueuedJob,
    Token,
    Written,
)
from forebay.backends.redis import browsing, codec, scripts
from forebay.backends.redis.checks import free_memory, require_suitable, require_takes
from forebay.backends.redis.connection import Connection, Value, connect
from forebay.backends.redis.ends import end_of, end_words
from forebay.backends.redis.ready import Subscription
from forebay.backends.redis.scripts import Script
from forebay.backends.settled import SPAN, Settled
from forebay.backends.wakeups import Wakeups
from forebay.config.problems import mask_url


class RedisQueue:
    """The working set in the Redis that `url` names. What each call does is said by the port, and done by `lua/*.lua`.

    Everything but `write` works while the memory is full: no script but that one begins with a write that needs some. An
    answer is as durable as that Redis is; what it forgets, the relay brings again from the log (a new epoch tells).

    `random` names the epoch of each topic when it is first planted. Times are the server's, unless a `clock` is given.
    """

    def __init__(
        self,
        url: str,
        random: Random,
        clock: Clock | None = None,
        make: Callable[[str], Redis] = connect,
    ) -> None:
        self._connection = Connection(partial(make, url), mask_url(url))
        self._random = random
        self._clock = clock
        self._ready: Wakeups[str] = Wakeups()
        self._news = Subscription(self._connection, self._ready)

    async def start(self) -> None:
        """Connect, look at the server, load the scripts. Raises `Unavailable`, and `BackendError` for a Redis that evicts
        keys or is a cluster; nothing is left open then. Until it has returned every other call raises `Unavailable`.
        """
        trial = self._connection.trial()
        try:
            await require_suitable(trial)
            await trial.load(scripts.SCRIPTS)
            self._connection.take_over(trial)
        finally:
            await trial.close()
        self._ready.open()
        self._news.start()

    async def stop(self) -> None:
        """Close every connection; calls that wait for an answer raise `Unavailable`, `wait` returns False."""
        self._ready.close()
        await self._news.stop()
        await self._connection.close()

    async def _run(self, script: Script, topic: str, *arguments: Value) -> Any:
        now = "" if self._clock is None else self._clock.wall()
        return await self._connection.run(script, codec.prefix(topic), now, *arguments)

    # relay

    async def plant(self, topic: str, token: Token) -> Planted:
        """Install the fence. Raises `StaleToken`."""
        epoch = f"{self._random.getrandbits(64):016x}"
        answer = await self._run(scripts.PLANT, topic, token.generation, token.index, epoch)
        kept, marks = _fenced(answer, topic, token)
        return Planted(kept.decode(), codec.marks(marks))

    async def marks(self, topic: str, token: Token) -> Mapping[int, Mark]:
        """The marks of every partition ever written. Raises `StaleToken`, `FenceMissing`."""
        answer = await self._run(scripts.MARKS, topic, token.generation, token.index)
        (marks,) = _fenced(answer, topic, token)
        return codec.marks(marks)

    async def write(
        self,
        topic: str,
        token: Token,
        epoch: str,
        partition: int,
        start: int,
        to: int,
        items: Sequence[QueuedJob | ParkedRecord],
        checkpoint: Checkpoint | None = None,
        *,
        begins: bool = True,
    ) -> Written:
        """Write one range of one partition. Raises `ValueError` for an item outside it, and what the port names.

        A job has at most `proto-max-bulk-len` bytes, and half of `maxmemory`. Redis looks at its memory before a script's
        first write only: a caller keeps batches to 1 MiB, or one job.
        """
        for item in items:
            if not start <= item.offset < to:
                raise ValueError(f"offset {item.offset} is not within {start}..{to - 1}")
        words = [word for item in codec.items(topic, partition, items) for word in item]
        await require_takes(self._connection, max((len(word) for word in words if isinstance(word, bytes)), default=0))
        last = codec.checkpoint_words(checkpoint)
        place = (token.generation, token.index, epoch, partition, start, to)
        answer = await self._run(scripts.WRITE, topic, *place, *last, int(begins), *words)
        if answer[0] == b"mismatch":
            raise MarkMismatch(topic, partition, start, int(answer[1]))
        return Written(to, *_fenced(answer, topic, token))

    async def settled(self, topic: str, token: Token) -> Mapping[int, Settled]:
        """Which offsets have ended: one call for each partition, so that none holds Redis up for long."""
        found = {}
        for partition in await self.marks(topic, token):
            answer = await self._run(scripts.SETTLED, topic, token.generation, token.index, partition, SPAN)
            low, pieces = _fenced(answer, topic, token)
            found[partition] = codec.settled(low, pieces)
        return found

    async def restore(
        self,
        topic: str,
        token: Token,
        epoch: str,
        settled: Mapping[int, Settled],
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """Give partitions without a mark what an earlier memory knew, all in one step."""
        words = codec.settled_words(settled, checkpoints or {})
        _fenced(await self._run(scripts.RESTORE, topic, token.generation, token.index, epoch, *words), topic, token)

    async def rewind(self, topic: str, token: Token, epoch: str, partition: int, to: int) -> None:
        """Move a mark back. The cost does not depend on how many jobs there are."""
        answer = await self._run(scripts.REWIND, topic, token.generation, token.index, epoch, partition, to)
        _fenced(answer, topic, token)

    async def unwritten(self, topic: str, token: Token, limit: int) -> Sequence[End]:
        """Ends that the log does not have."""
        answer = await self._run(scripts.UNWRITTEN, topic, token.generation, token.index, limit, MAX_BYTES)
        (rows,) = _fenced(answer, topic, token)
        return tuple(map(end_of, rows))

    async def written(self, topic: str, token: Token, ends: Sequence[End]) -> None:
        """Settle the offsets of what the log has, all in one step."""
        words = end_words(ends)
        _fenced(await self._run(scripts.WRITTEN, topic, token.generation, token.index, *words), topic, token)

    async def headroom(self) -> float:
        """Free share of `maxmemory`; 1 where none is set."""
        free, limit = await free_memory(self._connection)
        return free / limit if limit else 1.0

    # workers

    async def claim(self, topic: str, lease: Lease, limit: int) -> Sequence[Claim]:
        """Lease pending jobs by the time they got ready, then by insertion; the cost does not depend on the backlog."""
        rows = await self._run(scripts.CLAIM, topic, lease.worker, lease.sequence, _ms(lease.ttl), limit)
        return tuple(codec.claim(topic, lease.sequence, row) for row in rows)

    async def renew(self, topic: str, worker: str, received: int, ttl: float) -> frozenset[tuple[str, int]]:
        """Renew the worker's lease for `ttl` seconds from now. The attempt of a claim given back does not count."""
        rows = await self._run(scripts.RENEW, topic, worker, received, _ms(ttl))
        return frozenset((id_.decode(), int(epoch)) for id_, epoch in rows)

    async def end(self, topic: str, worker: str, outcomes: Sequence[Outcome]) -> Sequence[bool]:
        """Record outcomes in one step."""
        words = [word for outcome in outcomes for word in codec.outcome_words(outcome)]
        return tuple(valid == 1 for valid in await self._run(scripts.END, topic, worker, *words))

    async def promote(self, topic: str, limit: int) -> Moved:
        """Make due jobs pending."""
        return _moved(await self._run(scripts.PROMOTE, topic, limit))

    async def reap(self, topic: str, limit: int) -> Moved:
        """Take back the jobs of workers whose lease has lapsed."""
        return _moved(await self._run(scripts.REAP, topic, limit))

    async def wait(self, topics: Sequence[str], timeout: float) -> bool:
        """Return True as soon as there is a pending job, False after `timeout` seconds or at `stop`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        prefixes = tuple(codec.prefix(topic) for topic in topics)
        self._news.expect(prefixes)
        while True:
            with self._ready.expect(prefixes) as news:
                if self._ready.closed:
                    return False
                if await self._is_pending(prefixes):
                    return True
                if not await news.wait(deadline - loop.time()):
                    return False

    async def _is_pending(self, prefixes: Sequence[str]) -> bool:
        try:
            return bool(await self._connection.command("EXISTS", *(f"{prefix}pending" for prefix in prefixes)))
        except Unavailable:
            if self._ready.closed:  # `stop` closed the connection under the call
                return False
            raise

    # people

    async def counts(self, topic: str) -> Counts:
        """Jobs by state; a successor that waits for its first to end counts as delayed."""
        return Counts(*await self._run(scripts.COUNTS, topic))

    async def browse(self, topic: str, state: JobState, limit: int, after: str = "") -> Sequence[JobView]:
        """Jobs in one state by id; a parked record's id is `<topic>/<partition>/<offset>`."""
        return await browsing.browse(self._connection, topic, state, limit, after)

    async def find(self, topic: str, ids: Sequence[str]) -> Sequence[JobView]:
        """Jobs and parked records by id, in one look at each hash."""
        return await browsing.find(self._connection, topic, ids)

    async def resubmit(self, topic: str, ids: Sequence[str]) -> int:
        """Dead jobs that hold their offsets to pending; they run whatever else has their dedup id now."""
        return int(await self._run(scripts.RESUBMIT, topic, *ids))

    async def retire(self, topic: str, ids: Sequence[str]) -> int:
        """Remove dead jobs that hold no offset."""
        return int(await self._run(scripts.RETIRE, topic, *ids))

    async def discard(self, topic: str, ids: Sequence[str]) -> int:
        """Remove dead or parked jobs for good."""
        return int(await self._run(scripts.DISCARD, topic, *ids))


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _moved(answer: Sequence[Any]) -> Moved:
    count, due = int(answer[0]), int(answer[1])
    return Moved(count, None if due < 0 else due)


def _fenced(answer: Sequence[Any], topic: str, token: Token) -> Sequence[Any]:
    """What follows the `ok` of a fenced script. Raises `StaleToken`, `FenceMissing`."""
    if answer[0] == b"stale":
        raise StaleToken(topic, token, Token(int(answer[1]), int(answer[2])))
    if answer[0] == b"missing":
        raise FenceMissing(f"topic {topic!r}: this queue does not know the term of {token}; plant the fence again")
    return answer[1:]
