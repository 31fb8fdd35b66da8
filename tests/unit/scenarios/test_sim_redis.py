"""The simulated Redis: what it answers when, what it loses and what not, and how full it is (F2, F4)."""

import asyncio
import hashlib
from random import Random

import pytest
from hiredis import pack_command
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from forebay.backends.errors import Unavailable
from forebay.backends.ports import Done, Lease, QueuedJob, Retry, Token
from forebay.backends.redis.queue import RedisQueue
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.simulation.lease_use import CLAIMED
from forebay.scenarios.simulation.redis import SimRedis
from forebay.scenarios.simulation.redis_commands import COMMANDS
from forebay.scenarios.simulation.redis_data import EMPTY, Data, Hash, Items, Refused, SortedSet, Text


class Client:
    """Commands from one host, each on a connection of its own."""

    def __init__(self, server, host="a"):
        self.client = server.client(host)("redis://simulated")

    async def __call__(self, *words):
        connection = await self.client.connection_pool.get_connection()
        try:
            await connection.send_packed_command(pack_command(words))
            return await connection.read_response()
        finally:
            await self.client.connection_pool.release(connection)


def simulated(main):
    """Run `main(server, call)` on virtual time."""

    async def inside():
        loop = running_loop()
        server = SimRedis("simulated", loop.clock, loop.streams.stream("redis"))
        await main(server, Client(server))

    run(inside)


def in_script(*calls):
    """A script of calls, each a list of words; it answers with the last one's answer."""
    lines = [f"last = redis.call({', '.join(repr(word) for word in words)})" for words in calls]
    return "\n".join(["local last", *lines, "return last"])


# --- memory: which calls a full one refuses


def test_a_full_redis_refuses_what_needs_more_until_a_call_has_written():
    async def main(server, call):
        await call("HSET", "h", "f", "v")
        server.limit_memory(EMPTY)
        with pytest.raises(OutOfMemoryError):
            await call("HSET", "h", "g", "v")
        with pytest.raises(OutOfMemoryError):
            await call("EVAL", in_script(["HGET", "h", "f"], ["ZADD", "z", "1", "m"]), 0)
        assert await call("EVAL", in_script(["DEL", "none"], ["ZADD", "z", "1", "m"]), 0) == 1
        assert await call("HGET", "h", "f") == b"v"
        assert await call("HDEL", "h", "f") == 1

    simulated(main)


def test_it_looks_at_its_memory_once_before_a_call_and_not_within():
    async def main(server, call):
        server.limit_memory(EMPTY + 10)
        assert await call("EVAL", in_script(["HSET", "h", "f", "x" * 100], ["HSET", "h", "g", "x" * 100]), 0) == 1
        with pytest.raises(OutOfMemoryError):
            await call("HSET", "h", "i", "x")
        server.limit_memory(0)
        assert await call("HSET", "h", "i", "x") == 1

    simulated(main)


def test_a_script_that_fails_keeps_what_it_had_written():
    async def main(_, call):
        with pytest.raises(ResponseError, match="unknown command 'RPUSH'"):
            await call("EVAL", in_script(["HSET", "h", "f", "v"], ["RPUSH", "l", "x"]), 0)
        assert await call("HGET", "h", "f") == b"v"
        with pytest.raises(ResponseError, match="attempt to"):
            await call("EVAL", "return nil + 1", 0)

    simulated(main)


# --- failures


def test_a_killed_one_answers_nobody_and_comes_back_with_its_data_and_without_scripts():
    async def main(server, call):
        sha = hashlib.sha1(b"return 7").hexdigest()
        assert (await call("SCRIPT", "LOAD", "return 7"), await call("EVALSHA", sha, 0)) == (sha.encode(), 7)
        await call("HSET", "h", "f", "v")
        waiting = asyncio.ensure_future(call("HGET", "h", "f"))
        await asyncio.sleep(0)
        assert server.kill()
        with pytest.raises(RedisConnectionError):
            await waiting
        with pytest.raises(RedisConnectionError):
            await call("PING")
        assert not server.kill()
        assert server.start()
        assert await call("HGET", "h", "f") == b"v"
        with pytest.raises(NoScriptError):
            await call("EVALSHA", sha, 0)

    simulated(main)


def test_a_dropped_reply_is_of_a_call_that_took_effect():
    async def main(server, call):
        server.drop_replies(1)
        assert await call("HGET", "h", "f") is None  # changes nothing, so it is answered
        began = running_loop().time()
        with pytest.raises(RedisTimeoutError):
            await call("HSET", "h", "f", "v")
        assert running_loop().time() - began == pytest.approx(5, abs=0.1)
        assert await call("HGET", "h", "f") == b"v"

    simulated(main)


def test_a_cut_host_hears_nothing_while_others_do():
    async def main(server, call):
        other = Client(server, "b")
        await call("PING")
        server.cut("a")
        with pytest.raises(RedisTimeoutError):
            await call("HSET", "h", "f", "v")
        with pytest.raises(RedisTimeoutError):  # neither on a new connection
            await call("PING")
        assert await other("HGET", "h", "f") is None
        assert [host for _, host in server.unanswered] == ["a", "a"]
        server.mend("a")
        assert await call("PING") == b"PONG"

    simulated(main)


def test_a_reply_that_a_cut_way_lost_is_known_and_news_that_nobody_waits_for_is_not():
    async def main(server, call):
        news = server.client("a")("redis://simulated").pubsub()
        await news.subscribe("channel")
        await news.get_message(timeout=1)
        writing = asyncio.ensure_future(call("HSET", "h", "f", "v"))
        server.latency(0.1)
        await asyncio.sleep(0.01)
        server.cut("a")
        with pytest.raises(RedisTimeoutError):
            await writing
        assert [host for _, host in server.unanswered] == ["a"]
        await Client(server, "b")("PUBLISH", "channel", "x")
        await asyncio.sleep(1)
        assert len(server.unanswered) == 1

    simulated(main)


def test_what_is_on_its_way_arrives_though_the_client_gave_up():
    async def main(server, call):
        await call("PING")
        server.slow("a", 20)
        with pytest.raises(RedisTimeoutError):
            await call("HSET", "h", "f", "v")
        other = Client(server, "b")
        assert await other("HGET", "h", "f") is None
        await asyncio.sleep(20)
        assert await other("HGET", "h", "f") == b"v"

    simulated(main)


def test_messages_take_as_long_as_they_are_told_to():
    async def main(server, call):
        server.latency(0.25)
        began = running_loop().time()
        await call("PING")  # a handshake, and the call
        assert running_loop().time() - began == 1.0
        server.latency(0.25, jitter=0.1)
        await call("PING")
        assert 1.5 < running_loop().time() - began < 1.7

    simulated(main)


def test_a_failover_loses_the_newest_calls_that_changed_something_and_no_others():
    async def main(server, call):
        for number in range(10):
            await call("EVAL", in_script(["HSET", "h", str(number), "v"], ["ZADD", "z", str(number), f"m{number}"]), 0)
            await call("HLEN", "h")
        assert server.failover(3) == 3
        assert await call("HLEN", "h") == 7
        assert await call("ZRANGE", "z", -1, -1, "WITHSCORES") == [b"m6", b"6"]
        assert server.failover(100) == 7
        assert await call("EXISTS", "h", "z") == 0
        assert server.used_memory == EMPTY
        assert len(server.losses) == 2

    simulated(main)


def test_a_wiped_one_is_empty_at_once_and_a_flushed_one_keeps_its_connections():
    async def main(server, call):
        await call("HSET", "h", "f", "v")
        pubsub = server.client("b")("").pubsub()
        await pubsub.subscribe("news")
        assert server.flush()
        assert not server.wipe()
        await call("HSET", "h", "f", "v")
        assert server.wipe()
        assert await call("EXISTS", "h") == 0
        with pytest.raises(RedisConnectionError):
            await pubsub.get_message(1)

    simulated(main)


def test_news_reach_those_who_have_subscribed():
    async def main(server, call):
        pubsub = server.client("b")("").pubsub()
        await pubsub.subscribe("news")
        assert (await pubsub.get_message(1))["type"] == "subscribe"
        assert await call("EVAL", in_script(["PUBLISH", "news", "hello"]), 0) == 1
        assert await pubsub.get_message(1) == {"type": "message", "data": b"hello"}
        assert await pubsub.get_message(3) is None
        await pubsub.ping()
        assert (await pubsub.get_message(1))["type"] == "pong"
        await pubsub.aclose()
        assert await call("EVAL", in_script(["PUBLISH", "news", "hello"]), 0) == 0

    simulated(main)


def test_it_knows_who_was_given_a_job_and_what_was_said_of_it():
    async def main(server, _call):
        queue, token = RedisQueue("redis://simulated", Random(1), make=server.client("b")), Token(0, 1)
        await queue.start()
        epoch = (await queue.plant("jobs", token)).epoch
        await queue.write("jobs", token, epoch, 0, 0, 1, [QueuedJob(0, "x", "t", b"")])
        (claim,) = await queue.claim("jobs", Lease("worker", 1, 10.0), 5)
        await queue.end("jobs", "worker", [Retry("x", claim.epoch - 1, 0.0, "no"), Done("x", claim.epoch)])
        await queue.stop()
        assert [(use.host, use.topic, use.id, use.epoch - claim.epoch, use.what, use.valid) for use in server.leases] == [
            ("b", "jobs", "x", 0, CLAIMED, True),
            ("b", "jobs", "x", -1, "retry", False),
            ("b", "jobs", "x", 0, "done", True),
        ]

    simulated(main)


def test_a_range_without_room_counts_when_the_host_could_know_of_it():
    async def main(server, call):
        queue, token = RedisQueue("redis://simulated", Random(1), make=server.client("b")), Token(0, 1)
        await queue.start()
        epoch = (await queue.plant("jobs", token)).epoch

        async def spell_of(start):
            await queue.write("jobs", token, epoch, 0, start, start + 1, [QueuedJob(start, f"x{start}", "t", b"")])
            return server.written[-1].spell

        server.slow("b", 2)
        look = asyncio.ensure_future(queue.headroom())
        await asyncio.sleep(3)
        assert not look.done()
        server.slow("b", 0)
        server.limit_memory(int(server.used_memory * 1.05))  # a relay stops at 0.9 of it
        assert [await spell_of(0), await spell_of(1)] == [0, 0]  # what was known last holds while the look waits
        await look
        assert await spell_of(2) == 1
        await queue.headroom()
        server.cut("b")
        lost = asyncio.ensure_future(queue.headroom())
        await asyncio.sleep(0.1)
        server.mend("b")
        assert await spell_of(3) == 1  # it had been told of this one
        with pytest.raises(Unavailable):
            await lost
        server.limit_memory(0)
        await queue.headroom()
        server.limit_memory(int(server.used_memory * 1.05))  # a relay stops at 0.9 of it
        assert await spell_of(4) == 2  # nobody asks
        await queue.stop()

    simulated(main)


def test_what_it_does_not_know_is_refused_by_name():
    async def main(_, call):
        with pytest.raises(ResponseError, match="unknown command 'BLPOP'"):
            await call("BLPOP", "l", 0)
        await call("HSET", "h", "f", "v")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await call("ZADD", "h", 1, "m")

    simulated(main)


# --- data

KEYS = st.sampled_from([b"h1", b"h2", b"z1", b"z2", b"t1", b"t2", b"l1", b"l2"])
WORDS = st.binary(max_size=4)
NUMBERS = st.integers(0, 40)


@st.composite
def changes(draw):
    """One command that changes data, with its words."""
    key = draw(KEYS)
    number = b"%d" % draw(NUMBERS)
    commands = {
        b"h": [(b"HSET", draw(WORDS), draw(WORDS)), (b"HDEL", draw(WORDS)), (b"HINCRBY", b"#", number)],
        b"z": [(b"ZADD", number, draw(WORDS)), (b"ZREM", draw(WORDS))],
        b"t": [(b"SETRANGE", number, draw(WORDS)), (b"SETBIT", number, draw(st.sampled_from([b"0", b"1"])))],
        b"l": [
            (b"LPUSH", draw(WORDS)),
            (b"LREM", b"1", draw(WORDS)),
            (b"LMOVE", draw(st.sampled_from([b"l1", b"l2"])), b"RIGHT", b"LEFT"),
        ],
    }[key[:1]]
    name, *words = draw(st.sampled_from([*commands, (b"DEL",)]))
    return name, (key, *words)


def contents(data):
    """The data as plain values, with the bytes that they must take."""
    plain = {}
    for key, value in data.keys.items():
        if isinstance(value, Hash):
            plain[key] = value.fields.copy()
        elif isinstance(value, SortedSet):
            assert value.order == sorted((score, member) for member, score in value.scores.items())
            plain[key] = value.scores.copy()
        elif isinstance(value, Items):
            plain[key] = value.items.copy()
        else:
            assert isinstance(value, Text)
            plain[key] = bytes(value.content)
    assert all(plain.values())  # what is empty is no key
    assert data.used == EMPTY + sum(value.bytes for value in data.keys.values())
    return plain, data.used


def do(data, calls):
    for call in calls:
        for name, words in call:
            COMMANDS[name].run(data, words)
        data.commit()


@given(st.lists(st.lists(changes(), max_size=4), max_size=8), st.lists(st.lists(changes(), max_size=4), max_size=8))
def test_taking_calls_back_leads_to_what_was_there_before_them(before, after):
    data = Data()
    do(data, before)
    known, left = contents(data), len(data._calls)
    do(data, after)
    new = len(data._calls) - left
    assert data.take_back(new) == new
    assert contents(data) == known


def test_a_list_is_taken_from_in_the_order_in_which_it_was_posted_to_and_loses_what_is_removed():
    data = Data()
    assert [COMMANDS[b"LPUSH"].run(data, (b"l", item)) for item in (b"1", b"2", b"3")] == [1, 2, 3]
    move = (b"l", b"flight", b"RIGHT", b"LEFT")
    assert [COMMANDS[b"LMOVE"].run(data, move) for _ in range(4)] == [b"1", b"2", b"3", None]
    assert [COMMANDS[b"LREM"].run(data, (b"flight", b"1", b"2")) for _ in range(2)] == [1, 0]
    assert [COMMANDS[b"LLEN"].run(data, (key,)) for key in (b"l", b"flight")] == [0, 2]
    assert data.keys[b"flight"].items == [b"3", b"1"]


@given(st.lists(st.tuples(NUMBERS, WORDS), max_size=30), NUMBERS, NUMBERS, st.booleans(), st.booleans())
def test_a_range_of_scores_holds_what_lies_between_them(pairs, low, high, without_low, without_high):
    data = Data()
    for score, member in pairs:
        COMMANDS[b"ZADD"].run(data, (b"z", b"%d" % score, member))
    words = [b"(%d" % low if without_low else b"%d" % low, b"(%d" % high if without_high else b"%d" % high]
    scores = {member: score for score, member in pairs}
    wanted = sorted(
        (score, member)
        for member, score in scores.items()
        if (low < score or (low == score and not without_low)) and (score < high or (score == high and not without_high))
    )
    assert COMMANDS[b"ZRANGEBYSCORE"].run(data, (b"z", *words)) == [member for _, member in wanted]
    assert COMMANDS[b"ZRANGEBYSCORE"].run(data, (b"z", *words, b"LIMIT", b"0", b"2")) == [m for _, m in wanted[:2]]


@given(st.binary(max_size=6), st.integers(0, 1), st.integers(0, 7))
def test_the_first_bit_of_a_kind_is_found_as_redis_documents_it(text, wanted, first):
    data = Data()
    COMMANDS[b"SETRANGE"].run(data, (b"t", b"0", text))
    bits = "".join(f"{byte:08b}" for byte in text)
    place = bits.find(str(wanted), 8 * first)
    if place == -1 and not wanted and (first < len(text) or not text):
        place = len(bits)  # zeros follow; without a key there are zeros only
    assert COMMANDS[b"BITPOS"].run(data, (b"t", b"%d" % wanted, b"%d" % first)) == place


def test_a_value_of_another_kind_is_refused():
    data = Data()
    data.set_field(b"h", b"f", b"v")
    with pytest.raises(Refused, match="WRONGTYPE"):
        data.look(b"h", Text)
