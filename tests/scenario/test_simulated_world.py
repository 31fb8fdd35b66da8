"""Two production runtimes on simulated services, under the failures that matter (F2, F3, G1, R3)."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.simulated import (
    TOPIC,
    all_done,
    check_one_writer,
    config,
    loading,
    now,
    relay_of,
    relaying,
    run,
    takeover,
    writers,
)

from forebay.scenarios.simulation.book import Answer
from forebay.scenarios.simulation.process import Being
from forebay.scenarios.simulation.world import World
from forebay.scenarios.virtual import run_virtual

JOBS = 150


def other(world, name):
    return next(host for host in world.hosts if host != name)


def nothing_lost(world, jobs=JOBS):
    assert len(world.book.ids(Answer.ACCEPTED)) == jobs
    assert world.book.unfinished() == []
    assert world.counts(TOPIC).unfinished == 0


def test_jobs_go_from_the_log_through_the_queue_to_handlers_once_each():
    async def main(world):
        await loading(world, JOBS)
        await all_done(world)

    world = run(main)
    nothing_lost(world)
    assert world.book.repeated() == []
    assert world.book.finished.total() == len(world.book.runs) == JOBS
    assert sum(one.to - one.start for one in world.redis["main"].written) == JOBS
    assert not world.redis["main"].refused


def test_a_clean_stop_of_the_holder_hands_over_at_once_and_repeats_nothing():
    async def main(world):
        posting = loading(world, JOBS)
        first = await relaying(world)
        await world.until(lambda: now() > 2)
        report = await world.hosts[first].terminate()
        assert report.ending.value == "clean"
        stopped = now()
        await world.until(lambda: relay_of(world) != first)
        assert now() - stopped < 2
        await posting
        await all_done(world)
        assert writers(world) == [first, other(world, first)]

    world = run(main)
    nothing_lost(world)
    assert world.book.repeated() == []


def test_a_killed_holder_is_replaced_and_nothing_is_lost():
    async def main(world):
        posting = loading(world, JOBS, seconds=0.3)
        first = await relaying(world)
        await world.until(lambda: now() > 2)
        world.hosts[first].kill()
        await posting
        await all_done(world)
        assert writers(world) == [first, other(world, first)]
        await world.hosts[first].start()
        assert world.hosts[first].lives == 2

    world = run(main)
    nothing_lost(world)
    check_one_writer(world)
    cut_off = [one for one in world.book.runs if one.ended is None]
    assert cut_off
    assert world.book.repeated() == []  # a run that was cut off is no end


def test_a_paused_holder_comes_back_and_what_it_wrote_too_late_is_refused_and_counted():
    async def main(world):
        redis = world.redis["main"]
        posting = loading(world, JOBS)
        first = await relaying(world)
        redis.slow(first, 30)  # what it sends from now on arrives when its term is long over
        await asyncio.sleep(1)
        world.hosts[first].pause()
        await world.until(lambda: relay_of(world) != first)
        assert not redis.refused
        redis.slow(first, 0)
        await world.until(lambda: redis.refused["write", "stale"] > 0)
        world.hosts[first].resume()
        await posting
        await all_done(world)

    world = run(main)
    nothing_lost(world)
    check_one_writer(world)
    assert world.book.repeated() == []


def test_a_holder_that_is_cut_off_from_consul_gives_way():
    async def main(world):
        posting = loading(world, JOBS, every=0.2)  # for longer than the takeover takes: a holder shows by what it writes
        first = await relaying(world)
        world.consul.cut(first)
        await world.until(lambda: relay_of(world) != first)
        world.consul.mend(first)
        await posting
        await all_done(world)

    world = run(main)
    nothing_lost(world)
    check_one_writer(world)


@pytest.mark.parametrize(
    "fault",
    [
        lambda redis: redis.wipe(),
        lambda redis: redis.flush(),
        lambda redis: redis.failover(50),
        lambda redis: redis.failover(5000),
        lambda redis: redis.drop_replies(3),
    ],
    ids=["wiped", "flushed", "failed over, a little lost", "failed over, much lost", "answers lost"],
)
def test_what_redis_loses_is_brought_again_from_the_log(fault):
    async def main(world):
        posting = loading(world, JOBS, seconds=0.2)
        await world.until(lambda: world.book.finished.total() > JOBS // 3)
        fault(world.redis["main"])
        await posting
        await all_done(world)

    world = run(main)
    nothing_lost(world)
    check_one_writer(world)


def test_a_redis_that_is_away_for_minutes_crashes_nobody():
    async def main(world):
        posting = loading(world, JOBS)
        await world.until(lambda: world.book.finished.total() > 50)
        world.redis["main"].kill()
        await asyncio.sleep(300)
        before = len(world.book.runs)
        assert all(host.being is Being.RUNNING for host in world.hosts.values())
        world.redis["main"].start()
        await posting
        await all_done(world)
        assert before < len(world.book.runs)

    world = run(main)
    nothing_lost(world)
    check_one_writer(world)


def test_a_full_redis_leaves_jobs_in_the_log_and_empties_itself():
    async def main(world):
        redis = world.redis["main"]
        redis.limit_memory(redis.used_memory + 2**20)
        posting = loading(world, JOBS, every=0.001, seconds=2.0, pad="x" * 20_000)
        await posting
        await world.until(lambda: world.lag(TOPIC) > JOBS // 3 and world.counts(TOPIC).in_flight > 0)
        assert redis.used_memory > 0.8 * redis.max_memory
        await all_done(world)  # what ends frees room, and so all comes through below the same limit
        assert redis.used_memory < redis.max_memory - 2**19

    world = run(main)
    nothing_lost(world)
    check_one_writer(world)
    assert world.book.repeated() == []


def test_the_same_seed_is_the_same_run_in_any_process_and_another_seed_another_order():
    worlds = [takeover(seed) for seed in (1, 2, 3)]
    digests = [world.digest for world in worlds]
    assert [digest_elsewhere(1, hash_seed) for hash_seed in (0, 4711)] == [digests[0]] * 2
    assert len(set(digests)) == 3
    assert len({tuple((one.id, one.host) for one in world.book.runs) for world in worlds}) == 3


def digest_elsewhere(seed, hash_seed):
    """The digest of a takeover in another process."""
    code = f"from support.simulated import takeover; print(takeover({seed}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(Path(__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return run.stdout.strip()


def test_a_world_needs_urls_of_services_that_it_can_simulate():
    async def main(world):
        raise AssertionError("it was made")

    with pytest.raises(ValueError, match=r"sqlite: is not simulated; give kafka:, consul: and redis: URLs"):
        run(main, queues={"main": {"url": "sqlite:"}})


def test_queues_with_one_url_are_one_server():
    queues = {name: {"url": f"redis://{host}:6379"} for name, host in (("main", "one"), ("second", "one"), ("third", "two"))}

    async def main(world):
        assert world.redis["main"] is world.redis["second"] is not world.redis["third"]

    run(main, queues=queues)


def test_a_wall_clock_an_hour_off_shifts_no_term_and_loses_nothing():
    async def main(world):
        posting = loading(world, JOBS)
        first = await relaying(world)
        world.hosts[first].skew(3600)
        world.hosts[other(world, first)].skew(-3600)
        await posting
        await all_done(world)
        assert writers(world) == [first]

    world = run(main)
    nothing_lost(world)
    assert world.book.repeated() == []


def test_each_new_runtime_is_shown_before_it_starts():
    seen = []

    async def main():
        async with World(config(), hosts=("a",), booted=lambda host, runtime: seen.append((host.lives, runtime))) as world:
            first = world.hosts["a"].runtime
            world.hosts["a"].kill()
            await world.hosts["a"].start()
            assert seen == [(1, first), (2, world.hosts["a"].runtime)]

    run_virtual(main)


def test_no_host_of_a_world_listens_whatever_its_configuration_says():
    async def main(world):
        kinds = {node.path for host in world.hosts.values() for node in host.runtime.tree().walk()}
        assert {"/gates/producer", "/workers/dispatcher"} <= kinds
        assert not any("http_server" in path or "console" in path for path in kinds)

    run(main, gate={"port": 8080}, console={"port": 8081})
