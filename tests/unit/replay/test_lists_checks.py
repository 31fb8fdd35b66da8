"""What the old design has nothing of is refused by its line, as every mistake in a scenario (F1, O5)."""

from pathlib import Path

import pytest

from forebay.config import ConfigError
from forebay.scenarios.replay.library import library
from forebay.scenarios.replay.reading import read_scenario

TEXT = library()["slow-database-old-design"].read_text()
DESIGN = "design: lists"


def problems(text):
    with pytest.raises(ConfigError) as raised:
        read_scenario(text, "x.yaml", Path())
    return str(raised.value)


def line(text, part):
    return next(number for number, one in enumerate(text.splitlines(), 1) if part in one)


@pytest.mark.parametrize(
    ("right", "wrong", "key", "found"),
    [
        ("do: jobs.fail,", "do: redis.kill, queue: main,", "faults[2].do", "redis.kill, which nothing can do to lists"),
        ("size: 0}", "size: 0, acks: all}", "workload[1].acks", "acks, which jobs of lists have not"),
        ("size: 0}", "size: 0, fails: 5%}", "workload[1].fails", "fails, which jobs of lists have not"),
        ("[bytes-kept]", "[one-writer]", "invariants.always[0]", "one-writer, which lists have nothing to show of"),
        ("[memory-full]", "[another-term]", "invariants.sometimes[0]", "another-term, which lists have nothing to show of"),
        ("partitions: 4, rate: 1000/s}", "partitions: 4}, {name: more}", "topology.topics", "several topics"),
        ("workers: {slots: 20, lease: 10s, drain: 5s}", "workers: false", "topology.workers", "no workers"),
    ],
)
def test_what_lists_have_nothing_of_is_refused_and_taken_with_the_design_of_forebay(right, wrong, key, found):
    text = TEXT.replace(right, wrong)
    told = problems(text)
    assert f"x.yaml:{line(text, wrong)}: {key}: found {found}; leave it out, or write design: forebay" in told
    read_scenario(text.replace(DESIGN, "design: forebay"), "x.yaml", Path())


def test_a_design_that_is_none_is_refused_with_those_that_there_are():
    told = problems(TEXT.replace(DESIGN, "design: list"))
    assert f"x.yaml:{line(TEXT, DESIGN)}: design: found 'list'; write forebay or lists" in told


def test_a_verb_that_is_none_is_told_once():
    assert len(problems(TEXT.replace("do: jobs.fail", "do: jobs.fial")).splitlines()) == 1
