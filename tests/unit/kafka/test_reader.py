"""Fetching, by what leaders answer (R4, R6)."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from forebay.backends.errors import BackendError, Unavailable
from forebay.backends.kafka.connection import KafkaLogConnection
from forebay.backends.kafka.reader import HELD_UP
from forebay.backends.ports import Want
from forebay.scenarios.virtual import run_virtual

SOUND, UNKNOWN, DAMAGED, NOT_ALLOWED, UNNAMED = 0, -1, 2, 29, 75


def batch():
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
    builder.append(0, 77, None, b"v", [])
    return bytes(builder.build())


class Leader:
    """A broker that leads all, with one record in each partition, and answers for each with its code in `codes`.

    It holds a request back while there is nothing to say.
    """

    timeout = 5.0
    client = None

    def __init__(self, **codes):
        self.codes = {int(name[1:]): code for name, code in codes.items()}
        self.asked = []
        self.refreshed = 0

    async def require(self, topic, wanted):
        pass

    async def refresh(self):
        self.refreshed += 1

    def by_leader(self, topic, partitions):
        return {1: list(partitions)} if partitions else {}

    async def send(self, node, request, group=None):
        ((topic, wanted),) = request._topics
        self.asked.append([partition for partition, *_ in wanted])
        assert len(self.asked) < 500, "it is asked without end"
        answers = [self._answer(*one) for one in wanted]
        if not any(code or data for _, code, *_, data in answers):
            await asyncio.sleep(request._max_wait_ms / 1000)
        return SimpleNamespace(API_VERSION=4, topics=[(topic, answers)])

    def _answer(self, partition, offset, *_):
        code = self.codes.get(partition, SOUND)
        return partition, code, 1, 1, None, b"" if code or offset else batch()


def connected(leader):
    return KafkaLogConnection("jobs", None, leader, "forebay", lambda _: None)


def shown(found):
    return {partition: [record.value for record in records] for partition, records in found.items()}


@pytest.mark.parametrize("code", [UNKNOWN, DAMAGED, UNNAMED])
def test_a_partition_that_its_leader_cannot_read_holds_up_no_other(code):
    async def main():
        connection = connected(Leader(p1=code))
        found = await connection.fetch({0: Want(0, 9), 1: Want(0, 9)}, 0.0)
        return shown(found), dict(connection.held_up)

    found, held_up = run_virtual(main)
    assert found == {0: [b"v"]}
    assert list(held_up) == [1]
    assert f"jobs/1: its leader answers with error {code}" in held_up[1]


def test_it_is_asked_for_again_once_in_a_while_and_shortens_no_wait_for_the_others():
    async def main():
        leader = Leader(p1=DAMAGED)
        connection = connected(leader)
        assert await connection.fetch({0: Want(1, 9), 1: Want(0, 9)}, 20.0) == {}
        assert await connection.fetch({1: Want(0, 9)}, 20.0) == {}
        await connection._reader.close()
        return leader

    leader = run_virtual(main)
    assert 30 <= sum(1 in asked for asked in leader.asked) <= 2 * 20 / HELD_UP + 2
    assert sum(0 in asked for asked in leader.asked) <= 3 * 20 / HELD_UP
    assert leader.refreshed == 0


def test_an_error_that_begins_while_news_are_waited_for_is_asked_for_no_more_often():
    async def main():
        leader = Leader()
        connection = connected(leader)
        waiting = asyncio.get_running_loop().create_task(connection.fetch({0: Want(1, 9), 1: Want(1, 9)}, 20.0))
        await asyncio.sleep(3)
        leader.codes = {1: DAMAGED}
        assert await waiting == {}
        await connection._reader.close()
        return leader, list(connection.held_up)

    leader, held_up = run_virtual(main)
    assert held_up == [1]
    assert sum(1 in asked for asked in leader.asked) <= 3 * 20 / HELD_UP


def test_it_is_read_again_when_its_leader_can():
    async def main():
        leader, loop = Leader(p1=DAMAGED), asyncio.get_running_loop()
        connection = connected(leader)
        waiting = loop.create_task(connection.fetch({1: Want(0, 9)}, 600.0))
        await asyncio.sleep(10)
        assert list(connection.held_up) == [1]
        leader.codes, since = {}, loop.time()
        found = await waiting
        return shown(found), connection.held_up, loop.time() - since

    found, held_up, seconds = run_virtual(main)
    assert (found, held_up) == ({1: [b"v"]}, {})
    assert seconds <= 2 * HELD_UP


def test_what_is_said_of_a_partition_and_meant_of_the_topic_is_raised():
    async def main():
        with pytest.raises(BackendError, match="TopicAuthorization") as raised:
            await connected(Leader(p1=NOT_ALLOWED)).fetch({0: Want(0, 9), 1: Want(0, 9)}, 0.0)
        assert not isinstance(raised.value, Unavailable)

    run_virtual(main)
