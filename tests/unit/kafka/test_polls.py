"""Waiting for news of a topic: few requests while nothing comes, and none that stands in another's way (R4)."""

import asyncio

import pytest

from forebay.backends.errors import Unavailable
from forebay.backends.kafka.polls import CALM, HOLD, Polls
from forebay.scenarios.virtual import run_virtual

HERE = {0: 10, 1: 20}
MOVED = {0: 11, 1: 20}


class Leaders:
    """Leaders that answer when told to, or when they have held a request back for long enough."""

    def __init__(self):
        self.asked = []
        self.news = {}
        self.polls = Polls(self.ask)

    async def ask(self, node, positions, hold):
        self.asked.append((node, dict(positions), hold))
        news = self.news[node] = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([news], timeout=hold)
        return bool(done) and news.result()


def test_who_waits_for_long_asks_once_in_a_while():
    async def main():
        leaders = Leaders()
        await leaders.polls.news({1: HERE, 2: {5: 0}}, 60.0)
        await leaders.polls.close()
        return leaders.asked

    asked = run_virtual(main)
    holds = [hold for node, _, hold in asked if node == 1]
    assert holds[:5] == [HOLD, 2 * HOLD, 4 * HOLD, 8 * HOLD, CALM]
    assert set(holds[4:]) == {CALM}
    assert len(asked) < 2 * (60 / CALM + 5)


def test_news_end_the_wait_at_once_however_calm_it_was():
    async def main():
        loop, leaders = asyncio.get_running_loop(), Leaders()
        await leaders.polls.news({1: HERE, 2: {5: 0}}, 30.0)
        waiting = loop.create_task(leaders.polls.news({1: HERE, 2: {5: 0}}, 30.0))
        await asyncio.sleep(0.01)
        leaders.news[2].set_result(True)
        since = loop.time()
        await waiting
        await leaders.polls.close()
        return loop.time() - since

    assert run_virtual(main) == 0.0


def test_a_wait_that_is_given_up_leaves_its_request_to_the_next_one():
    """A broker answers the requests of a socket in turn: a second one would wait behind the first."""

    async def main():
        loop, leaders = asyncio.get_running_loop(), Leaders()
        for _ in range(50):
            waiting = loop.create_task(leaders.polls.news({1: HERE}, 30.0))
            await asyncio.sleep(HOLD / 100)
            waiting.cancel()
        await leaders.polls.news({1: {0: 10}}, HOLD / 4)
        await leaders.polls.close()
        return leaders.asked

    assert run_virtual(main) == [(1, HERE, HOLD)]


def test_other_positions_are_asked_for_anew_and_not_for_long():
    async def main():
        leaders = Leaders()
        await leaders.polls.news({1: HERE}, 30.0)
        calm = len(leaders.asked)
        await leaders.polls.news({1: MOVED}, HOLD / 2)
        await leaders.polls.close()
        return leaders.asked[calm:]

    assert run_virtual(main) == [(1, MOVED, pytest.approx(HOLD / 2))]


def test_what_a_leader_refuses_is_told_once():
    async def main():
        loop, leaders = asyncio.get_running_loop(), Leaders()
        waiting = loop.create_task(leaders.polls.news({1: HERE}, 30.0))
        await asyncio.sleep(0.01)
        leaders.news[1].set_exception(Unavailable("gone"))
        with pytest.raises(Unavailable, match="gone"):
            await waiting
        await leaders.polls.news({1: HERE}, 1.0)
        await leaders.polls.close()

    run_virtual(main)


def test_the_end_leaves_no_request():
    async def main():
        loop, leaders = asyncio.get_running_loop(), Leaders()
        waiting = loop.create_task(leaders.polls.news({1: HERE, 2: {5: 0}}, 30.0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await leaders.polls.close()
        return len(asyncio.all_tasks() - {asyncio.current_task()} - {waiting})

    assert run_virtual(main) == 0
