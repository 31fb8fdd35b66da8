"""A term that writes job after job into a queue, as the relay would."""

from forebay.backends.ports import QueuedJob, Token

FIRST = Token(1, 1)


class Term:
    """Plants `token` and appends to partitions from where the marks stand."""

    def __init__(self, queue, topic="jobs", token=FIRST):
        self.queue, self.topic, self.token = queue, topic, token
        self.next: dict[int, int] = {}

    async def begin(self):
        planted = await self.queue.plant(self.topic, self.token)
        self.epoch = planted.epoch
        self.next = {partition: mark.next for partition, mark in planted.marks.items()}
        return self

    async def write(self, *items, partition=0, to=None):
        """Write items made by `job` or `parked` at the offsets that come next."""
        start = self.next.get(partition, 0)
        placed = [make(start + n) for n, make in enumerate(items)]
        to = start + len(items) if to is None else to
        written = await self.queue.write(self.topic, self.token, self.epoch, partition, start, to, placed)
        self.next[partition] = written.next
        return written

    async def write_ends(self):
        """Say of every dead and parked one that the log has it."""
        await self.queue.written(self.topic, self.token, await self.queue.unwritten(self.topic, self.token, 1000))

    async def mark(self, partition=0):
        return (await self.queue.marks(self.topic, self.token))[partition]


def job(id_, **more):
    """A maker of a job for `Term.write`, which gives it its offset."""
    return lambda offset: QueuedJob(offset, id_, "test", **({"args": id_.encode()} | more))
