"""Each check and each sighting tells a run that is right from one that is not."""

from collections import Counter

import pytest
from attrs import evolve

from forebay.actors.events import Exited, Noted, Started, Zombie
from forebay.actors.exits import Failed, Shutdown
from forebay.actors.snapshot import MailboxView, Node, State
from forebay.scenarios.replay.counts import counted
from forebay.scenarios.replay.evidence import Accepted, Bite, Evidence, Moment, Run, Write
from forebay.scenarios.replay.invariants import CHECKS
from forebay.scenarios.replay.leases import KEEPER
from forebay.scenarios.replay.schema import When
from forebay.scenarios.replay.sightings import SIGHTINGS, event_matches
from forebay.scenarios.simulation.lease_use import CLAIMED, LeaseUse

LOCK = "/relays/relay[jobs]/topic_lock"


def job(acks="leader"):
    return Accepted(1.0, "jobs", 0, 0, acks)


def run(id_="x", started=1.0, ended=2.0, **more):
    return Run(id_, "a", 1, started, ended, **more)


def write(token, epoch="e", start=0, to=1, **more):
    return Write(1.0, "a", "jobs", token, 0, start, to, epoch, **more)


def marks(*ranges):
    return [write((1, number), start=start, to=to) for number, (start, to) in enumerate(ranges)]


def tree(state=State.RUNNING, depth=0):
    mailbox = MailboxView(depth=depth, capacity=5, high_water=0, handled=0, dropped=0, dead_letters=0)
    return Node("/", "supervisor", State.RUNNING, 1, children=(Node("/x", "actor", state, 1, mailbox=mailbox),))


def moment(**more):
    return Evidence(moments=[Moment(1.0, **({"trees": {"a": tree()}, "lag": {"jobs": 0}, "waiting": {"jobs": 0}} | more))])


def noted(name, path="/x", at=1.0):
    return Noted(at=at, path=path, name=name)


RETRIED = [("x", ("jobs.retry", 0, 7)), ("x", ("jobs.retry", 0, 8))]
"""Two records of a job in the retry lane."""


def put_back(at, topic="jobs", offset=0):
    fields = (("topic", topic), ("partition", 0), ("offset", offset), ("error", "refused"))
    return "a", Noted(at=at, path="/w", name="put_back", fields=fields)


def used(what, epoch, at=1.0, valid=True):
    return LeaseUse(at, "a", "jobs", "x", epoch, what, valid)


def keeper(*kinds):
    """What befell the keeper of host a, at 1, 2 ... seconds."""
    return [("a", kind(at=float(at), path=KEEPER)) for at, kind in enumerate(kinds, 1)]


def exited(exit_):
    return lambda **where: Exited(exit=exit_, **where)


STOPPED = exited(Shutdown("the runtime stops"))

RIGHT = {
    "nothing-lost": Evidence(accepted={"x": job(), "y": job(), "z": job()}, runs=[run("x")], ends={"y": "dead"}, gone={"z"}),
    "nothing-gone": Evidence(accepted={"x": job()}, gone={"other"}),
    "acks-all-kept": Evidence(accepted={"x": job()}, gone={"x"}),
    "one-writer": Evidence(writes=[write((1, 1)), write((1, 2)), write((1, 1), "the queue was emptied")]),
    "bytes-kept": Evidence(runs=[run()]),
    "mailboxes-bounded": moment(trees={"a": tree(depth=5), "b": None}),
    "lag-zero": moment(),
    "tree-all-running": moment(),
    "no-zombie": Evidence(events=[("a", noted("x"))]),
    "no-duplicates": Evidence(runs=[run(), run("y"), run(failed=True)]),
    "duplicates-explained": Evidence(runs=[run(), run(started=8.0, ended=9.0)], bites=[Bite("f", "redis.wipe", {}, 7.0)]),
    "marks-move-on": Evidence(
        writes=marks((0, 5), (5, 9), (3, 3), (3, 6), (6, 6), (8, 9)), bites=[Bite("f", "kafka.broker.kill", {}, 1.0)]
    ),
    "settled-once": Evidence(
        accepted={"x": job()}, settled={"x": 5.0}, runs=[run(), run(started=5.0), run("y", started=9.0)]
    ),
    "stops-without-room": Evidence(writes=[write((1, 1), spell=1)] * 3 + [write((1, 1), spell=2)] + [write((1, 1))] * 9),
    "calls-bounded": moment(asked={"a": 800}),
    "one-lease": Evidence(
        leases=[
            used(CLAIMED, 1),
            used(CLAIMED, 2),
            used("done", 1, valid=False),
            used("retry", 2),
            used("done", 2, valid=False),
        ]
    ),
    "clean-stop": Evidence(runs=[run(ended=1.5)], events=keeper(Started, STOPPED), leases=[used("done", 1, at=1.6)]),
    "refused-not-taken": Evidence(turned_away={"x"}, written={"y"}, runs=[run("z")]),
    "dead-after-its-tries": Evidence(ends={"x": "dead", "y": "parked"}, leases=[used(CLAIMED, n) for n in range(5)]),
}
WRONG = {
    "nothing-lost": Evidence(accepted={"x": job()}, runs=[run(failed=True)]),
    "nothing-gone": Evidence(accepted={"x": job()}, gone={"x"}),
    "acks-all-kept": Evidence(accepted={"x": job("all")}, gone={"x"}),
    "one-writer": Evidence(writes=[write((1, 2)), write((1, 1))]),
    "bytes-kept": Evidence(runs=[run(intact=False)]),
    "mailboxes-bounded": moment(trees={"a": tree(depth=6)}),
    "lag-zero": moment(waiting={"jobs": 1}),
    "tree-all-running": moment(trees={"a": tree(State.PARKED)}),
    "no-zombie": Evidence(events=[("a", Zombie(at=1.0, path="/x", task="t"))]),
    "no-duplicates": Evidence(runs=[run(), run()]),
    "duplicates-explained": Evidence(
        runs=[run(), run(started=30.0, ended=31.0)],
        bites=[Bite("f", "redis.wipe", {}, 29.0), Bite("g", "x", {}, 2.0, bit=False)],
    ),
    "marks-move-on": Evidence(writes=marks((0, 5), (3, 6))),
    "settled-once": Evidence(accepted={"x": job()}, settled={"x": 5.0}, runs=[run(), run(started=9.0)]),
    "stops-without-room": Evidence(writes=[write((1, 1), spell=1)] * 4),
    "calls-bounded": moment(asked={"a": 801}),
    "one-lease": Evidence(leases=[used(CLAIMED, 1), used(CLAIMED, 2), used("retry", 1)]),
    "clean-stop": Evidence(runs=[run(ended=1.5)], events=keeper(Started, STOPPED), leases=[used("retry", 1, at=1.4)]),
    "refused-not-taken": Evidence(turned_away={"x"}, runs=[run("x")]),
    "dead-after-its-tries": Evidence(ends={"x": "dead"}, leases=[used(CLAIMED, n) for n in (1, 2, 3, 3, 3)]),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_passes_what_is_right(name):
    assert CHECKS[name](RIGHT[name]) is None


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_finds_what_is_wrong(name):
    assert CHECKS[name](WRONG[name])


def test_what_the_log_has_though_nobody_was_told_must_end_too():
    assert CHECKS["nothing-lost"](Evidence(unknown={"x", "y"}, written={"x"}))
    assert CHECKS["nothing-lost"](Evidence(unknown={"x", "y"}, written={"x"}, runs=[run("x")])) is None


def test_a_refused_job_that_is_in_the_log_is_found():
    assert CHECKS["refused-not-taken"](Evidence(turned_away={"x"}, written={"x"}))


def posted(*ends):
    """What is known after posts of x that were all under way at once, and ended so."""
    seen = Evidence()
    for _ in ends:
        seen.post_begins("x")
    for end in ends:
        seen.post_ended("x", job() if end == "accepted" else None, refused=end == "refused")
    return seen


@pytest.mark.parametrize(
    ("ends", "taken", "again"),
    [
        (("refused",), False, False),
        (("refused", "refused"), False, False),
        (("refused", "accepted"), True, False),
        (("unknown", "refused"), True, False),
        (("unknown", "accepted"), True, True),
    ],
)
def test_a_job_is_turned_away_if_every_post_of_it_was(ends, taken, again):
    seen = posted(*ends)
    assert (seen.turned_away, seen.again) == (set() if taken else {"x"}, {"x"} if again else set())


def test_nobody_is_turned_away_while_another_post_is_under_way():
    """Seed 3572: the log had the second post before its answer came."""
    seen = posted("refused")
    seen.post_begins("x")
    assert seen.turned_away == set()
    seen.post_ended("x", None, refused=True)
    assert seen.turned_away == {"x"}


def test_a_mailbox_that_was_over_its_capacity_between_two_looks_is_found():
    over = MailboxView(depth=0, capacity=5, high_water=6, handled=0, dropped=0, dead_letters=0)
    assert CHECKS["mailboxes-bounded"](moment(trees={"a": Node("/x", "actor", State.RUNNING, 1, mailbox=over)}))


@pytest.mark.parametrize("bites", [[], [Bite("f", "kafka.broker.kill", {}, 2.0)], [Bite("f", "redis.kill", {}, 1.0)]])
def test_marks_go_back_only_after_what_can_cut_the_log(bites):
    assert CHECKS["marks-move-on"](Evidence(writes=marks((0, 5), (3, 3)), bites=bites))


@pytest.mark.parametrize(("until", "found"), [(0.9, False), (None, False), (-9.0, True)])
def test_only_while_jobs_are_refused_one_by_one_may_ranges_come_in_pieces(until, found):
    refuse = Bite("f", "redis.refuse", {}, -10.0, until=until)
    assert (CHECKS["stops-without-room"](evolve(WRONG["stops-without-room"], bites=[refuse])) is not None) is found


def test_an_end_under_a_lease_that_the_queue_never_gave_is_found():
    assert CHECKS["one-lease"](Evidence(leases=[used(CLAIMED, 9), used(CLAIMED, 4), used("done", 9)]))


def test_a_finished_run_that_was_told_as_given_back_was_not_told():
    assert CHECKS["clean-stop"](evolve(RIGHT["clean-stop"], leases=[used("release", 1, at=1.6)]))


@pytest.mark.parametrize(
    ("at", "host", "explains"),
    [(0.9, "a", True), (-4.9, "a", True), (4.0, "a", True), (-5.1, "a", False), (5.1, "a", False), (0.9, "b", False)],
)
def test_a_worker_that_waits_for_a_reply_which_was_dropped_tells_nothing_meanwhile(at, host, explains):
    """Seed 3674: the last of four replies was dropped four seconds after the fault; the host was restarted soon after. Seed
    2223: a call went out an instant before a way was mended; the host was restarted soon after.
    """
    seen = Evidence(runs=[run(), run(started=9.0, ended=10.0)], unanswered=[(at, host)])
    assert (CHECKS["duplicates-explained"](seen) is None) is explains


def test_a_memory_limit_does_not_keep_ends_from_being_recorded():
    limit = Bite("memory", "redis.limit", {"memory": 600_000}, 0.0, until=21.0)
    assert CHECKS["duplicates-explained"](Evidence(runs=[run(), run(started=10.0, ended=11.0)], bites=[limit]))


def test_a_queue_that_lost_a_lease_takes_what_is_said_under_the_one_before():
    lost = evolve(WRONG["one-lease"], losses=[1.0])
    assert CHECKS["one-lease"](lost) is None


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (keeper(Started, exited(Failed(ValueError("a bug")))), False),  # what it had is left to the reaper
        (keeper(Started, Started, STOPPED), False),  # it was killed
        (keeper(Started), False),  # it runs
        ([*keeper(Started, STOPPED), ("a", Noted(at=1.4, path=KEEPER, name="lease_lost", fields=(("job", "x"),)))], False),
        ([*keeper(Started, STOPPED), ("a", Noted(at=1.4, path=KEEPER, name="lease_lost", fields=(("job", "y"),)))], True),
        ([*keeper(Started, STOPPED), ("b", Started(at=1.7, path=KEEPER))], True),
    ],
)
def test_only_a_worker_that_ends_in_order_must_have_told_what_it_finished(events, found):
    assert (CHECKS["clean-stop"](evolve(WRONG["clean-stop"], events=events)) is not None) is found


def test_a_run_that_a_pause_held_up_is_explained_by_it():
    paused, again = run(started=4.0, ended=41.0), run(started=20.0, ended=21.0)
    pause = Bite("p", "host.pause", {}, 5.0, until=40.0)
    assert CHECKS["duplicates-explained"](Evidence(runs=[paused, again], bites=[pause])) is None


def test_a_queue_that_lost_data_may_take_ranges_and_terms_again():
    again = [write((1, 2), to=5), write((1, 1), to=5)]
    for name in ("one-writer", "marks-move-on"):
        assert CHECKS[name](Evidence(writes=again))
        assert CHECKS[name](Evidence(writes=again, losses=[1.0])) is None


@pytest.mark.parametrize(
    ("do", "args", "explains"),
    [
        ("redis.slow", {"by": 2.0}, True),
        ("redis.slow", {"by": 0.3}, False),
        ("host.restart", {}, False),
        ("host.kill", {}, True),
        ("host.kill", {"host": "a"}, True),
        ("host.kill", {"host": "b"}, False),  # both runs were on a
        ("kafka.cut", {"host": "b"}, True),  # that may be the relay's
        ("kafka.leader.move", {"partition": 0}, True),
        ("kafka.leader.move", {"partition": 1}, False),
    ],
)
def test_only_what_can_keep_an_end_from_being_recorded_explains_that_a_job_ran_again(do, args, explains):
    runs, bite = [run(), run(started=5.0, ended=6.0)], Bite("f", do, args, 1.5, until=3.0)
    seen = Evidence(accepted={"x": job()}, runs=runs, bites=[bite])
    assert (CHECKS["duplicates-explained"](seen) is None) is explains


@pytest.mark.parametrize(("offset", "wiped", "explains"), [(0, 3.0, True), (0, 1.0, False), (1, 3.0, False)])
def test_a_job_that_was_put_back_into_the_log_has_two_records_that_a_queue_which_forgot_gets_again(offset, wiped, explains):
    seen = Evidence(
        accepted={"x": job()},
        runs=[run(started=40.0, ended=41.0), run(started=50.0, ended=51.0)],
        events=[put_back(at=2.0, offset=offset)],
        bites=[Bite("f", "redis.wipe", {}, wiped)],
    )
    assert (CHECKS["duplicates-explained"](seen) is None) is explains
    without_answer = evolve(seen, accepted={}, unknown={"x"})
    assert (CHECKS["duplicates-explained"](without_answer) is None) is (wiped == 3.0)


def test_a_job_that_a_relay_put_back_and_ended_before_its_mark_moved_has_two_records():
    twice = [run(started=40.0, ended=41.0), run(started=50.0, ended=51.0)]
    seen = Evidence(accepted={"x": job()}, settled={"x": 42.0}, runs=twice)
    for name in ("duplicates-explained", "settled-once"):
        assert CHECKS[name](seen) is not None
        assert CHECKS[name](evolve(seen, detoured=RETRIED[:1])) is None
    noted_once = evolve(seen, events=[put_back(at=2.0)])
    assert CHECKS["duplicates-explained"](evolve(noted_once, detoured=RETRIED[:1])) is not None
    assert CHECKS["duplicates-explained"](evolve(noted_once, detoured=RETRIED)) is None
    in_turn = evolve(noted_once, events=[put_back(at=2.0), put_back(at=3.0, topic="jobs.retry", offset=7)])
    assert CHECKS["duplicates-explained"](evolve(in_turn, detoured=RETRIED)) is not None


@pytest.mark.parametrize(
    ("restored", "partition", "explains"), [(3.0, 0, True), (3.0, 1, False), (6.0, 0, False), (1.5, 0, False)]
)
def test_a_queue_that_was_given_back_before_a_snapshot_could_be_read_does_not_know_what_that_says(
    restored, partition, explains
):
    fields = (("partition", partition), ("next", 0), ("ended_above", 0))
    note = Noted(at=restored, path="/relays/relay[jobs]/term/settled_marks", name="restored", fields=fields)
    assert (CHECKS["settled-once"](evolve(WRONG["settled-once"], events=[("a", note)])) is None) is explains


@pytest.mark.parametrize(
    ("losses", "begins", "explains"),
    [
        ([3.0], [3.5], True),
        ([3.0], [6.0], False),  # it could be read by then
        ([3.0], [2.5], False),  # that term knew the end
        ([1.5], [1.7], False),  # it ended in that memory
        ([3.0, 7.0], [3.5, 7.5], False),
        ([], [3.5], False),
    ],
)
def test_a_queue_that_forgot_before_a_snapshot_could_be_read_is_given_nothing_back(losses, begins, explains):
    """Seed 4691: the append of a snapshot was under way for seconds; the queue was wiped and had a new term meanwhile."""
    events = [("a", noted("term_begins", LOCK, at)) for at in begins]
    seen = evolve(WRONG["settled-once"], losses=losses, events=events)
    assert (CHECKS["settled-once"](seen) is None) is explains


LATE = {"started": 30.0, "ended": 31.0}
BEGINS = [("a", noted("term_begins", LOCK, at=5.0))]
MARKS_ENDED = ("a", Exited(at=6.0, path="/relays/relay[jobs]/term/settled_marks", exit=Shutdown("the lock is lost")))


@pytest.mark.parametrize(
    ("events", "others", "explains"),
    [
        ([], [], False),  # 27 seconds without a snapshot
        ([], [Bite("f", "redis.cut", {}, 4.0, until=22.0)], True),
        ([], [Bite("f", "redis.slow", {"by": 0.1}, 4.0, until=22.0)], False),
        ([], [Bite("f", "jobs.slow", {}, 4.0, until=22.0)], False),
        ([], [Bite("f", "consul.down", {}, 4.0, until=22.0)], True),
        (BEGINS, [Bite("f", "consul.down", {}, 4.0, until=22.0)], False),  # a term begins with a snapshot
        (BEGINS, [Bite("f", "redis.cut", {}, 4.0, until=22.0)], True),
        ([*BEGINS, MARKS_ENDED], [Bite("f", "consul.down", {}, 4.0, until=22.0)], True),  # before it could write one
        ([*BEGINS, ("b", MARKS_ENDED[1])], [Bite("f", "consul.down", {}, 4.0, until=22.0)], False),
        (BEGINS, [Bite("f", "consul.down", {}, 4.0, until=22.0), Bite("g", "kafka.broker.kill", {}, 9.0)], True),
    ],
)
def test_a_queue_that_forgot_explains_what_ended_before_the_newest_snapshot_that_there_must_have_been(
    events, others, explains
):
    bites = [*others, Bite("w", "redis.wipe", {}, 29.0)]
    seen = Evidence(runs=[run(), run(**LATE)], events=events, bites=bites)
    assert (CHECKS["duplicates-explained"](seen) is None) is explains


def test_that_an_ended_job_was_put_back_does_not_excuse_its_next_run():
    assert CHECKS["settled-once"](evolve(WRONG["settled-once"], events=[put_back(at=4.0)])) is not None


def test_a_job_that_was_posted_twice_may_run_twice():
    assert CHECKS["duplicates-explained"](Evidence(runs=[run(), run(started=5.0, ended=6.0)], again={"x"})) is None


@pytest.mark.parametrize(
    ("bite", "explains"),
    [
        (Bite("f", "redis.failover", {}, 8.0), True),
        (Bite("f", "host.pause", {}, 4.0, until=8.5), True),
        (Bite("f", "host.pause", {}, 4.0, until=5.0), False),
        (Bite("f", "redis.wipe", {}, 8.0), False),
    ],
)
def test_what_a_snapshot_says_has_ended_runs_again_only_where_the_end_was_taken_back(bite, explains):
    seen = Evidence(accepted={"x": job()}, settled={"x": 5.0}, runs=[run(), run(started=9.0)], bites=[bite])
    assert (CHECKS["settled-once"](seen) is None) is explains


def test_a_host_that_is_down_and_records_not_relayed_are_found():
    assert "a (down)" in CHECKS["tree-all-running"](moment(trees={"a": None}))
    assert CHECKS["lag-zero"](moment(lag={"jobs": 3})) == "jobs: 3 not relayed"
    assert CHECKS["lag-zero"](Evidence())
    assert CHECKS["tree-all-running"](Evidence())


def test_a_job_lost_with_acks_all_is_not_excused():
    assert CHECKS["nothing-lost"](Evidence(accepted={"x": job("all")}, gone={"x"}))


def begins(host, at=1.0):
    return host, noted("term_begins", LOCK, at)


SEEN = {
    "lock-lost": Evidence(events=[("a", Exited(at=1.0, path=LOCK, exit=Failed(ValueError("lost"))))]),
    "another-term": Evidence(events=[begins("a"), begins("a")]),
    "another-holder": Evidence(events=[begins("a"), begins("b")]),
    "stale-write-refused": Evidence(refusals=Counter(stale=1)),
    "fence-missed": Evidence(refusals=Counter(missing=1)),
    "mark-mismatched": Evidence(refusals=Counter(mismatch=1)),
    "memory-full": Evidence(refusals=Counter(memory=1)),
    "queue-filling": Evidence(events=[("a", noted("queue_filling"))]),
    "queue-away": Evidence(events=[("a", noted("queue_away"))]),
    "queue-restored": Evidence(events=[("a", noted("restored"))]),
    "log-away": Evidence(events=[("a", noted("log_away"))]),
    "coordination-away": Evidence(events=[("a", noted("coordination_away"))]),
    "log-diverged": Evidence(events=[("a", noted("diverged"))]),
    "records-expired": Evidence(events=[("a", noted("expired"))]),
    "relay-rewound": Evidence(events=[("a", noted("rewound"))]),
    "record-gone": Evidence(accepted={"x": job()}, gone={"x"}),
    "enqueue-refused": Evidence(refused=1),
    "outcome-unknown": Evidence(unknown={"x"}),
    "job-ran-twice": Evidence(runs=[run(), run()]),
    "job-failed": Evidence(runs=[run(failed=True)]),
    "job-died": Evidence(ends={"x": "dead"}),
    "jobs-reaped": Evidence(events=[("a", noted("reaped"))]),
    "lease-lost": Evidence(events=[("a", noted("lease_lost"))]),
    "run-cut-short": Evidence(runs=[run(ended=None), run()]),
    "actor-restarted": Evidence(events=[("a", Started(at=1.0, path="/x", incarnation=2))]),
}
NOT_SEEN = Evidence(
    accepted={"x": job()},
    gone={"other"},
    ends={"x": "parked"},
    runs=[run()],
    writes=[write((1, 1))],
    events=[begins("a"), ("a", Started(at=1.0, path="/x", incarnation=1))],
)


@pytest.mark.parametrize("name", SEEN)
def test_a_sighting_is_seen_where_it_is_and_nowhere_else(name):
    assert SIGHTINGS[name](SEEN[name])
    assert SIGHTINGS[name](NOT_SEEN) is None


def test_the_figures_add_up():
    seen = Evidence(
        accepted={"x": job(), "y": job(), "z": job()},
        runs=[run("x"), run("x"), run("y", failed=True)],
        ends={"y": "dead"},
        refused=2,
        events=[("a", noted("log_away")), ("b", noted("queue_away")), ("b", noted("queue_back"))],
    )
    figures = counted(seen)
    assert {name: count for name, count in figures.items() if count} == {
        "accepted": 3, "refused": 2, "finished": 1, "dead": 1, "duplicates": 1, "lost": 1, "runs": 3, "failed_runs": 1,
        "outages": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("/relays/relay[jobs]/topic_lock", True),
        ("*[jobs]*", True),
        ("*/topic_lock", True),
        ("/relays/relay[j]/topic_lock", False),
        ("/relays/relayj/topic_lock", False),
    ],
)
def test_brackets_of_a_path_stand_for_themselves(pattern, fits):
    event = noted("term_begins", path="/relays/relay[jobs]/topic_lock")
    assert event_matches(When(event="Noted", path=pattern), "a", event) is fits
