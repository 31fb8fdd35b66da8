"""Redis' refusals as our errors, in the words of each version (R2, R5)."""

import asyncio
from random import Random

import pytest
from redis.exceptions import ReadOnlyError, ResponseError

from forebay.backends.errors import BackendError, Full, Unavailable
from forebay.backends.redis import RedisQueue
from forebay.backends.redis.faults import is_replica, refusal

PAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
BEFORE_7 = "ERR Error running script (call to f_617a3259215a668e): @user_script:12: @user_script: 12: -{}"
SINCE_7 = "{} script: 617a3259215a668e, on @user_script:12."
REPLICA = "READONLY You can't write against a read only replica."


@pytest.mark.parametrize("script", [BEFORE_7, SINCE_7, "{}"], ids=["before 7", "since 7", "a command"])
@pytest.mark.parametrize(
    "answer",
    [
        REPLICA,
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
    ],
)
def test_what_a_script_cannot_do_now_is_waited_out_in_every_version(script, answer):
    """R5: taken for an answer it would be blamed on a job, or end the actor that asked."""
    error = refusal(ResponseError(script.format(answer)), "redis")
    assert isinstance(error, Unavailable)
    assert answer.split()[0] in str(error)


@pytest.mark.parametrize("script", [BEFORE_7, SINCE_7, "{}"], ids=["before 7", "since 7", "a command"])
def test_a_full_memory_is_told_in_every_version(script):
    error = refusal(ResponseError(script.format("OOM command not allowed when used memory > 'maxmemory'.")), "redis")
    assert isinstance(error, Full)


@pytest.mark.parametrize(
    "error",
    [ReadOnlyError(REPLICA[9:]), ResponseError(BEFORE_7.format(REPLICA)), ResponseError(SINCE_7.format(REPLICA))],
    ids=["as redis-py reads it", "before 7", "since 7"],
)
def test_a_replica_is_known_in_every_version_so_that_the_primary_is_looked_up_again(error):
    """R2: a connection that stays would keep asking the replica for ever."""
    assert is_replica(error)


def test_a_script_that_breaks_off_by_itself_is_an_answer():
    """R6: it may be one job's fault, which waiting does not mend."""
    broken = ResponseError("ERR Error running script (call to f_617a): @user_script:390: attempt to index a nil value")
    error = refusal(broken, "redis")
    assert isinstance(error, BackendError)
    assert not isinstance(error, Unavailable)
    assert not is_replica(broken)


async def test_what_is_no_redis_is_told_with_its_place_and_the_setting_to_change():
    async def answer(reader, writer):
        await reader.read(1)
        writer.write(PAGE)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        queue = RedisQueue(f"redis://:secret@{where}", Random(1))
        with pytest.raises(BackendError) as refused:
            await queue.start()
        await queue.stop()
    assert not isinstance(refused.value, Unavailable)
    assert where in str(refused.value)
    assert "no Redis" in str(refused.value)
    assert "the queue's url" in str(refused.value)
    assert "secret" not in str(refused.value)
