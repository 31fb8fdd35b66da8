"""The outage told twice: a queue of lists locks up, and forebay does not (F4, R5, R8, Q4)."""

from attrs import evolve

from forebay.scenarios.replay.library import scenarios
from forebay.scenarios.replay.runner import run_scenario
from forebay.scenarios.replay.schema import LISTS, Phases

OURS, OLD = "slow-database", "slow-database-old-design"


def test_both_have_the_same_servers_load_faults_and_time():
    ours, old = (scenarios()[name] for name in (OURS, OLD))
    told = {name: getattr(old, name) for name in ("name", "about", "design", "invariants", "expect")}
    assert evolve(ours, **told) == old
    assert old.design == LISTS


def test_the_queue_of_lists_stands_still_with_its_memory_full_until_somebody_acts():
    told = run_scenario(scenarios()[OLD], 1)
    assert told.verdict.passed, str(told.verdict)
    quick = next(bite.until for bite in told.seen.bites if bite.do == "jobs.slow")
    locked = [moment for moment in told.seen.moments if quick < moment.at < told.seen.healed]
    assert len({moment.finished for moment in locked}) == 1
    assert min(moment.used["main"] for moment in locked) > 1.0
    assert min(told.seen.refusals[command] for command in ("LPUSH", "LMOVE")) > 100
    assert told.verdict.counts["lost"] == 0


def test_without_its_memory_limit_the_same_load_does_not_lock_it_up():
    """So it is the memory, and not the slowness."""
    old = scenarios()[OLD]
    verdict = run_scenario(evolve(old, faults=[fault for fault in old.faults if fault.do != "redis.limit"]), 1).verdict
    assert verdict.counts["refused"] == 0
    assert verdict.counts["finished"] == verdict.counts["accepted"]
    assert verdict.counts["locked_seconds"] <= 1


def test_the_queue_of_lists_runs_the_same_again_by_its_seed():
    old = evolve(scenarios()[OLD], phases=Phases(chaos=45.0, converge=20.0))
    digests = [run_scenario(old, seed).verdict.digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_forebay_flows_again_within_seconds_with_the_limit_still_in_force():
    told = run_scenario(scenarios()[OURS], 1)
    assert told.verdict.passed, str(told.verdict)
    quick = next(bite.until for bite in told.seen.bites if bite.do == "jobs.slow")
    done = next(moment.at for moment in told.seen.moments if moment.finished == len(told.seen.accepted) > 600)
    assert quick < done < quick + 20 < told.seen.healed
    assert 0.9 < max(moment.used["main"] for moment in told.seen.moments if moment.used) <= 1.0
