"""Scenario files are read with every mistake named by its line (F1, O5)."""

import textwrap
from pathlib import Path

import pytest
from support.toy_stage import scenario

from forebay.config import ConfigError
from forebay.scenarios.replay.amounts import Between, Fixed, OneOf
from forebay.scenarios.replay.reading import load_scenario, read_scenario
from forebay.scenarios.replay.writing import scenario_yaml

TEXT = """\
format: forebay-scenario/1
name: broker-kill
about: One broker is killed.
topology:
  log: {url: "kafka://simulated:9092"}
  coordination: {url: "consul://simulated:8500"}
  queues: {main: {url: "redis://simulated:6379"}}
  topics: [{name: mail, partitions: 3}]
hosts: [a, b]
workload:
  - {count: 300, over: 30s, takes: 5ms..50ms, fails: 0%..10%}
faults:
  - {id: kill, do: host.kill, host: a | b, at: 5s..20s, lasts: 8s, chance: 50%}
  - {id: skew, do: host.skew, host: a, by: -30..30, when: {event: Noted, name: term_begins, nth: 2}, after: 1s}
invariants: {always: [one-writer], eventually: [nothing-lost], sometimes: [lock-lost], never: [zombie]}
expect: {counts: {duplicates: {most: 10}}, recovery: 60s}
"""


TOPOLOGY = "".join(TEXT.splitlines(keepends=True)[4:8])


def read(text):
    return read_scenario(text, "x.yaml", Path())


def problems(text):
    with pytest.raises(ConfigError) as raised:
        read(text)
    return str(raised.value)


def test_a_file_is_read_with_its_ranges_choices_and_arguments():
    found = read(TEXT)
    kill, skew = found.faults
    assert kill.at == Between(5.0, 20.0)
    assert kill.args == {"host": OneOf(("a", "b"))}
    assert (kill.chance, kill.lasts) == (Fixed(0.5), Fixed(8.0))
    assert skew.args["by"] == Between(-30.0, 30.0)
    assert (skew.when.nth, skew.at) == (2, None)
    assert found.workload[0].fails == Between(0.0, 0.1)
    assert [topic.name for topic in found.topology.topics] == ["mail"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("chance: 50%", "chance: 0.5"),
        ("chance: 50%", "chance: 0.123456789"),
        ("chance: 50%", "chance: 0.1..0.5"),
        ("by: -30..30", "by: 0.0000001..3"),
    ],
)
def test_what_is_written_reads_back_to_the_same_scenario(right, wrong):
    text = TEXT.replace(right, wrong)
    assert read(scenario_yaml(read(text))) == read(text)


def test_a_share_is_the_same_in_percent_and_as_a_number():
    assert read(TEXT.replace("chance: 50%", "chance: 0.1..0.5")) == read(TEXT.replace("chance: 50%", "chance: 10%..50%"))


def test_a_time_takes_no_choice_and_says_so():
    told = "x.yaml:13: faults[0].at: found '5s | 6s'; write one of them, or a range low..high"
    assert told in problems(TEXT.replace("at: 5s..20s", "at: 5s | 6s"))


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("hosts: [a, b]", "hots: [a, b]", "x.yaml:9: hots: found an unknown key; did you mean hosts?"),
        (
            "partitions: 3",
            "partitons: 3",
            "x.yaml:8: topology.topics[0].partitons: found an unknown key; did you mean partitions?",
        ),
        ("host.kill", "host.kil", "x.yaml:13: faults[0].do: found 'host.kil', which is no verb; did you mean host.kill?"),
        ("chance: 50%", "chanse: 50%", "x.yaml:13: faults[0].chanse: found an unknown key; did you mean chance?"),
        ("host: a | b", "host: a | c", "x.yaml:13: faults[0].host: found 'c', which is not there; write one of a, b"),
        ("host: a | b, ", "", "x.yaml:13: faults[0].host: found nothing; host is required here: a name of `hosts`"),
        ("at: 5s..20s", "at: 20s..5s", "x.yaml:13: faults[0].at: found '20s..5s'; write a range as low..high"),
        (
            "at: 5s..20s",
            "at: 5s..2h",
            "x.yaml:13: faults[0].at: found a time after the chaos; write a time within phases.chaos",
        ),
        ("at: 5s..20s, ", "", "x.yaml:13: faults[0]: found not one of at and when; give the time (at) or the event (when)"),
        ("id: skew", "id: kill", "x.yaml:14: faults[1].id: found a second fault 'kill'; give each fault an id of its own"),
        (
            "one-writer",
            "one-writr",
            "x.yaml:15: invariants.always[0]: found 'one-writr', which is not known; did you mean one-writer?",
        ),
        ("[zombie]", "[nothing-lost]", "x.yaml:15: invariants.never[0]: found 'nothing-lost', which is not known"),
        (
            "duplicates",
            "duplicats",
            "x.yaml:16: expect.counts.duplicats: found 'duplicats', which is not counted; did you mean",
        ),
        ("over: 30s", "over: 300s", "x.yaml:11: workload[0]: found posts after the chaos; let at and over come to no more"),
        (
            "over: 30s",
            "over: 30s, topic: jobs",
            "x.yaml:11: workload[0].topic: found 'jobs', which is not there; write one of mail",
        ),
        ("format: forebay-scenario/1", "format: 2", "x.yaml:1: format: found 2; write forebay-scenario/1"),
        (
            "hosts: [a, b]",
            "hosts: [a, b, a]",
            "x.yaml:9: hosts[2]: found a second host 'a'; give each host a name of its own",
        ),
        (
            "event: Noted",
            "event: Notd",
            "x.yaml:14: faults[1].when.event: found 'Notd', which is not there; did you mean Noted?",
        ),
        ("nth: 2", "nth: 2, host: c", "x.yaml:14: faults[1].when.host: found 'c', which is not there; write one of a, b"),
        ("event: Noted", "event: Started", "x.yaml:14: faults[1].when.name: found the name of a Started; leave name out"),
        (
            "at: 5s..20s",
            "at: 5s, after: 3s",
            "x.yaml:13: faults[0].after: found a time after no event; give the event (when)",
        ),
        (
            "[one-writer]",
            "[one-writer, one-writer]",
            "x.yaml:15: invariants.always[1]: found 'one-writer' a second time; name it",
        ),
        (
            "most: 10",
            "least: 11, most: 10",
            "x.yaml:16: expect.counts.duplicates: found values that do not fit; let least be no",
        ),
        (
            "eventually: [nothing-lost], ",
            "",
            "x.yaml:16: expect.recovery: found a recovery of nothing; name under invariants what",
        ),
        (
            "do: host.skew, host: a, by: -30..30",
            "do: kafka.leader.move, topic: mail, broker: 1, partition: 1..3",
            "x.yaml:14: faults[1].partition: found a partition that is not there; write one from 0 to 2",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(right, wrong, problem):
    assert right in TEXT
    assert problem in problems(TEXT.replace(right, wrong))


def test_every_mistake_is_named_at_once():
    text = TEXT.replace("hosts:", "hots:").replace("host.kill", "host.kil").replace("duplicates", "duplicats")
    assert len(problems(text).splitlines()) == 3


def test_a_scenario_that_checks_nothing_is_refused():
    text = TEXT[: TEXT.index("invariants")]
    assert "x.yaml:1: invariants: found nothing that is to hold; name what must hold" in problems(text)


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("at: 5s..20s", "at: soon", "x.yaml:13: faults[0].at: found 'soon'"),
        ("at: 5s..20s", "att: 5s", "x.yaml:13: faults[0].att: found an unknown key; did you mean at?"),
        ("hosts: [a, b]", "hosts: []", "x.yaml:9: hosts: found an empty list"),
        (f"topology:\n{TOPOLOGY}", "", "x.yaml:1: topology: found nothing; topology is required here"),
        (f"topology:\n{TOPOLOGY}", "topology: nowhere.yaml\n", "nowhere.yaml: found no readable file (No such file"),
        (f"topology:\n{TOPOLOGY}", "topology: 5\n", "x.yaml:4: topology: found 5; write a mapping of"),
        (f"topology:\n{TOPOLOGY}", 'topology: "a\\0b"\n', "b: found a path with a NUL in it"),
    ],
)
def test_one_mistake_is_told_once_and_nothing_that_follows_from_it(right, wrong, problem):
    assert right in TEXT
    (told,) = problems(TEXT.replace(right, wrong)).splitlines()
    assert problem in told


def test_a_fault_that_is_over_at_once_has_no_duration():
    wipe = "  - {id: wipe, do: redis.wipe, queue: main, at: 1s, lasts: 3s}\ninvariants"
    assert "x.yaml:15: faults[2].lasts: found a duration of redis.wipe" in problems(TEXT.replace("invariants", wipe))


def test_stores_that_are_not_simulated_are_refused():
    text = TEXT.replace('  log: {url: "kafka://simulated:9092"}\n', "")
    assert "x.yaml:5: topology.log.url: found 'sqlite:'; write a kafka: URL, as in production" in problems(text)


def test_the_environment_is_not_looked_at(monkeypatch):
    monkeypatch.setenv("WHO", "a")
    told = "found ${WHO}; write ${WHO:-default}, or a value: no environment is looked at here"
    assert told in problems(TEXT.replace("host: a | b", 'host: "${WHO}"'))


def test_a_variable_in_the_topologys_file_is_one_mistake_and_one_with_a_default_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS", "r1")
    (tmp_path / "x.yaml").write_text(TEXT.replace(f"topology:\n{TOPOLOGY}", "topology: two.yaml\n"))
    two = textwrap.dedent(TOPOLOGY).replace("//simulated:6379", "//${REDIS}:6379")
    (tmp_path / "two.yaml").write_text(two)
    with pytest.raises(ConfigError) as raised:
        load_scenario(tmp_path / "x.yaml")
    (told,) = str(raised.value).splitlines()
    assert "two.yaml:3: queues.main.url: found ${REDIS}; write ${REDIS:-default}, or a value" in told
    (tmp_path / "two.yaml").write_text(two.replace("${REDIS}", "${REDIS:-r2}"))
    assert load_scenario(tmp_path / "x.yaml").topology.queues["main"].url.address == "r2:6379"


def test_a_topology_is_taken_from_a_file_beside_the_scenario(tmp_path):
    (tmp_path / "two.yaml").write_text(textwrap.dedent(TOPOLOGY).replace("partitions: 3", "partitions: 5"))
    (tmp_path / "x.yaml").write_text(TEXT.replace(f"topology:\n{TOPOLOGY}", "topology: two.yaml\n"))
    assert load_scenario(tmp_path / "x.yaml").topology.topics[0].partitions == 5


def test_a_mistake_in_the_topologys_file_is_named_there(tmp_path):
    (tmp_path / "two.yaml").write_text("topic: []\n")
    (tmp_path / "x.yaml").write_text(TEXT.replace(f"topology:\n{TOPOLOGY}", "topology: two.yaml\n"))
    with pytest.raises(ConfigError, match=r"two.yaml:1: topic: found an unknown key; did you mean topics\?"):
        load_scenario(tmp_path / "x.yaml")


def test_a_file_that_is_not_text_is_told_so(tmp_path):
    (tmp_path / "x.yaml").write_bytes(TEXT.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"x.yaml: found a byte that is not UTF-8 at 0; save it as UTF-8"):
        load_scenario(tmp_path / "x.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no readable file"):
        load_scenario(tmp_path / "x.yaml")


def test_the_same_scenario_comes_from_plain_data():
    assert scenario(hosts=["a"]).hosts == ("a",)
