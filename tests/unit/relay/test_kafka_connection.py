"""The topic's connection on virtual time: what it answers, and when it gives up (A3, R4)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import settle, standing

from forebay.actors.relay.kafka_connection import COMMIT_INTERVAL, FETCH_WAIT, KafkaConnection
from forebay.actors.relay.messages import BrokerGone, Missed, Progress, Pull, Pulled
from forebay.backends.ports import Acks, Extent, NewRecord, TopicSpec
from forebay.scenarios.loop import run, running_loop


class Log(Flaky):
    """Keeps every commit; a `stuck` connection answers probes and fetches nothing, nothing comes of what is `held_up`."""

    def __init__(self, port):
        super().__init__(port, Faults(Random(1)))
        self.commits = []
        self.fetches = 0
        self.fetching = 0
        self.closed = 0
        self.stuck = False
        self.held_up = {}
        self.opened = 0
        self.passes = 0  # of the loop that opening a connection takes

    async def connect(self, topic):
        await self.faults.before("connect")
        for _ in range(self.passes):
            await asyncio.sleep(0)
        connection = Connection(await self.port.connect(topic), self)
        self.opened += 1
        return connection


class Connection(Flaky):
    def __init__(self, port, log):
        super().__init__(port, log.faults)
        self.log = log

    async def fetch(self, wants, wait):
        assert self.log.fetching == 0
        self.log.fetches += 1
        self.log.fetching += 1
        try:
            await self.faults.before("fetch")
            if self.log.stuck:
                await asyncio.sleep(wait)
                return {}
            given = {partition: want for partition, want in wants.items() if partition not in self.held_up}
            if not given:
                await asyncio.sleep(wait)
            return await self.port.fetch(given, wait) if given else {}
        finally:
            self.log.fetching -= 1

    @property
    def held_up(self):
        return self.log.held_up

    async def extents(self):
        await self.faults.before("extents")
        return await self.port.extents()

    async def commit(self, offsets):
        await self.faults.before("commit")
        self.log.commits.append(dict(offsets))

    async def close(self):
        self.log.closed += 1
        await self.port.close()


@asynccontextmanager
async def connected(down=False):
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    await embedded.log.ensure([TopicSpec("jobs", 3, 1e9, 1 << 24)])
    log = Log(embedded.log)
    log.faults.down = down
    make = lambda: KafkaConnection(topic="jobs", log=log, probe_interval=1.0, silence_limit=10.0)  # noqa: E731
    async with standing(make, "a", "b") as stand:
        stand.log = log
        await settle()
        yield stand
    await embedded.stop()


async def append(stand, count, partition=0):
    await stand.log.port.append([NewRecord("jobs", partition, b"v")] * count, Acks.LEADER)


def pull(stand, offset, partition=0, peer="a", most=100):
    stand.subject.tell(Pull(partition, offset, most, stand.ref(peer)))


def test_a_pull_is_answered_with_the_records_from_its_offset():
    async def main():
        async with connected() as stand:
            await append(stand, 5)
            pull(stand, 2, most=2)
            answer = await stand.told["a"].get()
            assert (answer.partition, answer.offset, [r.offset for r in answer.records]) == (0, 2, [2, 3])

    run(main)


def test_a_pull_at_the_end_waits_for_the_next_record():
    async def main():
        async with connected() as stand:
            pull(stand, 0)
            await asyncio.sleep(1000)
            assert stand.told["a"].empty()
            await append(stand, 1)
            assert isinstance(await stand.told["a"].get(), Pulled)
            assert stand.failures() == []

    run(main)


def test_idle_waiting_is_one_fetch_per_wait_and_not_a_poll():
    async def main():
        async with connected() as stand:
            pull(stand, 0)
            await asyncio.sleep(1000)
            assert stand.log.fetches <= 2 * (1000 / FETCH_WAIT + 1)

    run(main)


def test_a_pull_that_comes_while_another_waits_is_served_at_once():
    async def main():
        async with connected() as stand:
            pull(stand, 0)
            await asyncio.sleep(1)
            await append(stand, 3, partition=1)
            begin = running_loop().time()
            pull(stand, 0, partition=1, peer="b")
            assert len((await stand.told["b"].get()).records) == 3
            assert running_loop().time() == begin
            assert stand.told["a"].empty()

    run(main)


def test_pulls_that_never_cease_keep_no_one_from_an_answer():
    async def main():
        async with connected() as stand:
            stand.log.faults.latency = 0.01
            await append(stand, 1)
            pull(stand, 0)
            begin = running_loop().time()
            while stand.told["a"].empty():
                pull(stand, 0, partition=1, peer="b")
                await asyncio.sleep(0.001)
            assert running_loop().time() - begin < 0.1

    run(main)


def test_the_last_pull_of_a_partition_counts():
    async def main():
        async with connected() as stand:
            pull(stand, 0)
            await settle()
            pull(stand, 1)
            await append(stand, 3)
            assert (await stand.told["a"].get()).offset == 1
            await asyncio.sleep(100)
            assert stand.told["a"].empty()

    run(main)


def test_a_pull_that_replaces_one_while_it_is_being_answered_gets_its_own_answer():
    async def main():
        async with connected() as stand:
            await append(stand, 3)
            stand.log.faults.latency = 0.01
            pull(stand, 0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert stand.log.fetching == 1
            pull(stand, 1)
            assert (await stand.told["a"].get()).offset == 1
            await asyncio.sleep(1)
            assert stand.told["a"].empty()

    run(main)


def test_a_pull_that_comes_during_a_look_does_not_wait_for_the_others():
    async def main():
        async with connected() as stand:
            await append(stand, 1, partition=1)
            stand.log.faults.latency = 0.01
            pull(stand, 0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert stand.log.fetching == 1
            begin = running_loop().time()
            pull(stand, 0, partition=1, peer="b")
            await stand.told["b"].get()
            assert running_loop().time() - begin < 0.05

    run(main)


def test_a_pull_outside_the_log_is_missed():
    async def main():
        async with connected() as stand:
            await append(stand, 2)
            pull(stand, 9)
            assert await stand.told["a"].get() == Missed(0, 9, Extent(0, 2))

    run(main)


def test_one_who_has_gone_for_good_is_not_missed():
    async def main():
        async with connected() as stand:
            pull(stand, 0)
            await stand.runtime.supervisor().terminate_child("a")
            await stand.runtime.supervisor().delete_child("a")
            await append(stand, 1)
            await settle()
            assert stand.failures() == []

    run(main)


# liveness


def test_a_log_that_is_away_at_the_start_is_broker_gone_until_it_is_back():
    async def main():
        async with connected() as stand:
            stand.log.faults.down = True
            pull(stand, 0)
            await asyncio.sleep(600)
            assert {type(e) for e in stand.failures()} == {BrokerGone}
            stand.log.faults.down = False
            await asyncio.sleep(60)
            ends = len(stand.failures())
            await append(stand, 1)
            pull(stand, 0)
            assert isinstance(await stand.told["a"].get(), Pulled)
            assert len(stand.failures()) == ends

    run(main)


def test_a_fetch_without_a_broker_is_broker_gone():
    async def main():
        async with connected() as stand:
            stand.log.faults.down = True
            pull(stand, 0)
            await settle()
            assert isinstance(stand.failures()[0], BrokerGone)

    run(main)


def test_a_log_that_answers_nothing_is_broker_gone_after_the_silence_limit():
    async def main():
        async with connected() as stand:
            stand.log.faults.silent = True
            await asyncio.sleep(9.5)
            assert stand.failures() == []
            await asyncio.sleep(1.0)
            (error,) = stand.failures()
            assert isinstance(error, BrokerGone)
            stand.log.faults.silent = False

    run(main)


def test_a_short_outage_of_the_probe_is_the_clients_business():
    async def main():
        async with connected() as stand:
            stand.log.faults.down = True
            await asyncio.sleep(8)
            stand.log.faults.down = False
            await asyncio.sleep(60)
            assert stand.failures() == []

    run(main)


def test_a_client_that_stopped_consuming_without_a_word_is_broker_gone():
    async def main():
        async with connected() as stand:
            stand.log.stuck = True
            await append(stand, 1)
            pull(stand, 0)
            await asyncio.sleep(10)
            assert stand.failures() == []
            await asyncio.sleep(3)
            (error,) = stand.failures()
            assert isinstance(error, BrokerGone)
            assert "jobs/0" in str(error)

    run(main)


def test_a_partition_that_the_log_holds_up_is_noted_once_and_waited_for_while_the_others_are_served():
    async def main():
        async with connected() as stand:
            stand.log.held_up = {1: "its segment is damaged"}
            await append(stand, 1, partition=1)
            pull(stand, 0, partition=1, peer="b")
            for number in range(30):
                await append(stand, 1)
                pull(stand, number)
                assert (await stand.told["a"].get()).records[0].offset == number
                await asyncio.sleep(10)
            assert stand.notes("partition_away") == [{"partition": 1, "why": "its segment is damaged"}]
            assert stand.notes("partition_back") == []
            assert stand.told["b"].empty()
            stand.log.held_up = {}
            assert isinstance(await stand.told["b"].get(), Pulled)
            pull(stand, 30)
            await asyncio.sleep(10)
            (back,) = stand.notes("partition_back")
            assert back["partition"] == 1
            assert 290 < back["seconds"] < 310
            assert stand.failures() == []

    run(main)


def test_a_quiet_partition_is_no_silence():
    async def main():
        async with connected() as stand:
            await append(stand, 4)
            pull(stand, 4)
            await asyncio.sleep(1000)
            assert stand.failures() == []

    run(main)


# progress


def test_progress_is_committed_together_every_few_seconds():
    async def main():
        async with connected() as stand:
            for n in range(1, 50):
                stand.subject.tell(Progress(n % 2, n))
                await asyncio.sleep(COMMIT_INTERVAL / 25)
            await asyncio.sleep(COMMIT_INTERVAL)
            assert len(stand.log.commits) <= 3
            assert stand.log.commits[-1] == {0: 48, 1: 49}

    run(main)


def test_a_commit_that_failed_is_made_up_for():
    async def main():
        async with connected() as stand:
            stand.subject.tell(Progress(0, 7))
            stand.log.faults.down = True
            await asyncio.sleep(COMMIT_INTERVAL + 0.1)
            stand.log.faults.down = False
            stand.subject.tell(Progress(1, 1))
            await asyncio.sleep(COMMIT_INTERVAL)
            assert stand.log.commits == [{0: 7, 1: 1}]
            assert stand.failures() == []

    run(main)


def test_the_end_commits_and_closes():
    async def main():
        async with connected() as stand:
            stand.subject.tell(Progress(0, 7))
            await settle()
        assert stand.log.commits == [{0: 7}]
        assert stand.log.closed == 1

    run(main)


def test_the_end_does_not_wait_for_a_silent_log():
    async def main():
        async with connected() as stand:
            stand.subject.tell(Progress(0, 7))
            pull(stand, 0)
            await settle()
            stand.log.faults.silent = True
        assert stand.runtime.report.forced == ()
        assert stand.runtime.report.seconds < 2
        assert stand.log.closed == 1

    run(main)


def test_a_start_that_is_cut_short_at_whatever_instant_leaves_no_connection_open():
    async def main(passes):
        async with connected() as stand:
            stand.log.faults.silent = True
            stand.log.passes = passes
            stand.runtime.inject("/subject", RuntimeError("start again"))
            await settle()
            stand.log.faults.silent = False
        return stand.log.opened, stand.log.closed

    ends = [run(main, passes) for passes in range(30)]
    assert [opened for opened, closed in ends if opened != closed] == []
    assert {opened for opened, _ in ends} == {1, 2}  # cut short before the connection was there, and after
