"""The embedded log as a replicated one may become: cut by an unclean election, and filled again by the new leader."""

from msgspec.structs import replace

from forebay.backends.ports import OutOfRange


class CutLog:
    """A log of whose partitions the end can be cut off. What comes then is of a later leader, and says so if it `tells`."""

    def __init__(self, log, topic, tells=True):
        self.port, self.topic, self.tells = log, topic, tells
        self.leaders = {}  # partition -> first offset and epoch of each leader, in order

    def __getattr__(self, name):
        return getattr(self.port, name)

    async def connect(self, topic):
        connection = await self.port.connect(topic)
        return CutConnection(connection, self) if topic == self.topic else connection

    async def cut(self, partition, to):
        """Lose everything from `to` on."""

        def lose(connection):
            place = (self.topic, partition)
            (slot,) = connection.execute("SELECT slot FROM partitions WHERE topic = ? AND partition = ?", place).fetchone()
            connection.execute("UPDATE partitions SET next = ? WHERE slot = ?", (to, slot))
            connection.execute("DELETE FROM records WHERE number >= ? AND number < ?", (slot << 40 | to, slot + 1 << 40))

        await self.port._database.run(lose)
        leaders = self.leaders.get(partition, [])
        epoch = leaders[-1][1] + 1 if leaders else 1
        self.leaders[partition] = [one for one in leaders if one[0] < to] + [(to, epoch)]

    def epoch(self, partition, offset):
        epochs = [epoch for first, epoch in self.leaders.get(partition, []) if first <= offset]
        return epochs[-1] if epochs and self.tells else 0


class CutConnection:
    """A connection to it."""

    def __init__(self, connection, log):
        self.port, self.log = connection, log

    def __getattr__(self, name):
        return getattr(self.port, name)

    async def fetch(self, wants, wait):
        found = await self.port.fetch(wants, wait)
        return {
            partition: records if isinstance(records, OutOfRange) else tuple(map(self._of_its_leader, records))
            for partition, records in found.items()
        }

    def _of_its_leader(self, record):
        return replace(record, epoch=self.log.epoch(record.partition, record.offset))
