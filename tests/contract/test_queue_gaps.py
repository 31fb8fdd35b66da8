"""Which offsets have ended where a restored partition has gaps longer than a piece of Redis' bitmap (R14; port: `Queue`)."""

from random import Random

import pytest
from support.adapters import QUEUES, RedisSite
from support.relay import Term

from forebay.backends.ports import Done, Lease, QueuedJob
from forebay.backends.redis import codec
from forebay.backends.settled import Settled

ADAPTERS = QUEUES
PIECE = 65536  # offsets of one piece of Redis' bitmap
SPAN = 6 * PIECE


@pytest.fixture
async def queue(site):
    """At the end of a test nothing is kept of what every low mark has passed."""
    yield site.port
    if isinstance(site, RedisSite):
        prefix, connection = codec.prefix("jobs"), site.port._connection
        low = int(await connection.command("HGET", f"{prefix}settled", "0"))
        passed = [f"{prefix}ended:0:{piece}" for piece in range(low // PIECE)]
        assert low < PIECE or await connection.command("EXISTS", *passed) == 0


class Partition:
    """What a partition should say: a byte for every offset that has ended, and the jobs that hold theirs."""

    def __init__(self, queue, low, ended):
        self.queue = queue
        self.ended = bytearray(b"\1" * low + bytes(SPAN + PIECE - low))
        for offset in ended:
            self.ended[offset] = 1
        self.next = self.ended.index(0)
        self.sequence = 0

    async def begin(self):
        self.term = await Term(self.queue).begin()
        known = {0: Settled.of(0, packed(self.ended))}
        await self.queue.restore("jobs", self.term.token, self.term.epoch, known)
        await self.check()
        return self

    async def write(self, to, offsets):
        """Write a range with jobs at these offsets; the others are a gap."""
        jobs = [QueuedJob(offset, f"j{offset}", "test", b"") for offset in offsets]
        term, had = self.term, [offset for offset in offsets if self.ended[offset]]
        written = await self.queue.write("jobs", term.token, term.epoch, 0, self.next, to, jobs)
        held = set(offsets) - set(had)
        assert (written.queued, written.settled) == (len(held), len(had))
        for offset in range(self.next, to):
            self.ended[offset] = offset not in held
        self.next = to
        await self.check()

    async def end(self, chosen=lambda _: True):
        """Claim all, end those chosen and give the others back."""
        self.sequence += 1
        worker = f"w{self.sequence}"
        claims = await self.queue.claim("jobs", Lease(worker, 1, 30), 10_000)
        ended = [claim for claim in claims if chosen(claim.id)]
        await self.queue.end("jobs", worker, [Done(claim.id, claim.epoch) for claim in ended])
        await self.queue.renew("jobs", worker, 0, 30)  # the others were never received
        for claim in ended:
            self.ended[int(claim.id[1:])] = 1
        await self.check()

    async def rewind(self, to):
        """Only where nothing is held."""
        await self.queue.rewind("jobs", self.term.token, self.term.epoch, 0, to)
        self.ended[to:] = bytes(len(self.ended) - to)
        self.next = min(self.next, to)
        await self.check()

    async def check(self):
        low = self.ended.index(0)
        assert (await self.queue.settled("jobs", self.term.token))[0] == Settled.of(0, packed(self.ended))
        mark = (await self.queue.marks("jobs", self.term.token))[0]
        assert (mark.next, mark.settled) == (self.next, min(self.next, low))


def packed(flags):
    """A bit for each byte that is 1, the first the highest."""
    return int(flags.translate(b"01" + bytes(254)).decode(), 2).to_bytes(len(flags) // 8)


ENDED = [PIECE - 1, PIECE, PIECE + 9, 2 * PIECE + 3, *range(3 * PIECE - 9, 3 * PIECE + 9), 5 * PIECE + 1]


@pytest.mark.parametrize("to", [PIECE + 1, 2 * PIECE - 3, 2 * PIECE + 3, 3 * PIECE - 9, 4 * PIECE, 5 * PIECE + 2])
async def test_a_gap_over_whole_pieces_passes_what_was_restored_there(queue, to):
    partition = await Partition(queue, 5, ENDED).begin()
    await partition.write(to, [])
    await partition.write(to + 20, range(to, to + 20))
    await partition.end()


async def test_a_job_that_is_held_before_the_gap_keeps_the_low_mark_and_what_ended_beyond_it_is_told(queue):
    partition = await Partition(queue, PIECE - 3, ENDED).begin()
    await partition.write(4 * PIECE, [PIECE - 3, 2 * PIECE + 2, 2 * PIECE + 3, 3 * PIECE + 9])
    await partition.end(lambda id_: id_ == f"j{2 * PIECE + 2}")
    await partition.end(lambda id_: id_ == f"j{PIECE - 3}")
    await partition.end()


@pytest.mark.parametrize("to", [6, PIECE - 1, PIECE + 4, 3 * PIECE - 5])
async def test_a_log_that_was_cut_within_a_gap_that_was_passed_has_nothing_ended_from_there_on(queue, to):
    partition = await Partition(queue, 5, ENDED).begin()
    await partition.write(4 * PIECE + 3, [])
    await partition.rewind(to)
    await partition.write(3 * PIECE + 9, [to, to + 1, 3 * PIECE + 8])
    await partition.end()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_gaps_there_are_what_has_ended_is_told_and_skipped_and_nothing_else(queue, seed):
    random = Random(seed)
    low = random.randrange(PIECE + 9)
    near = [edge + random.randrange(-20, 20) for edge in range(PIECE, SPAN, PIECE) for _ in range(8)]
    partition = await Partition(queue, low, [offset for offset in near if offset >= low]).begin()
    while partition.next < SPAN - PIECE:
        step = random.choice((3, 40, PIECE - 1, PIECE, PIECE + 7, 2 * PIECE))
        to = min(partition.next + step, SPAN)
        places = {random.randrange(partition.next, to) for _ in range(3)} | {n for n in near if partition.next <= n < to}
        await partition.write(to, sorted(places) if random.random() < 0.6 else [])
        if random.random() < 0.7:
            await partition.end(lambda _: random.random() < 0.6)
    await partition.end()
