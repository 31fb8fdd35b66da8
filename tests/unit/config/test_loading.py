from pathlib import Path

import attrs
import pytest
import yaml

import forebay.config
from forebay.config import Config, ConfigError, from_mapping, load

SAMPLE = Path(forebay.config.__file__).parent / "sample.yaml"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "forebay.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(path, environ=None):
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return caught.value.problems


def only(path, environ=None):
    (problem,) = problems(path, environ)
    return problem


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "~", "gate:\nworkers:\ntopics:\n"])
def test_the_empty_file_is_an_embedded_configuration_with_one_topic(write, text):
    path = write(text)
    config = load(path, {})
    assert attrs.evolve(config, data=Path("data")) == Config()
    (topic,) = config.topics
    assert (topic.name, topic.partitions, topic.queue) == ("jobs", 8, "main")
    assert config.log.url.scheme == config.queues["main"].url.scheme == "sqlite"


def test_the_sample_shows_every_option_at_its_default():
    config = load(SAMPLE, {})
    assert config == Config(data=SAMPLE.parent / "data")
    assert keys(yaml.safe_load(SAMPLE.read_text())) == keys(yaml.safe_load(Config().describe()))


def keys(tree):
    if isinstance(tree, dict):
        return {name: keys(inner) for name, inner in tree.items()}
    return [keys(inner) for inner in tree] if isinstance(tree, list) else None


def test_every_option_arrives(write):
    config = load(
        write(
            """
data: /var/lib/forebay
queues: {main: {url: "sqlite:"}, slow: {}}
topics:
  - {name: a.b_c-D, partitions: 3, queue: slow, acks: all, rate: 90/m, retention: 1h,
     max_record: 1MiB, replication: 5, min_insync: 4}
gate: {host: "::1", port: 0, zone: eu-1, max_body: 64KiB, request_timeout: 1s, body_timeout: 2s,
       header_timeout: 3s, max_connections: 4, batch_limit: 5}
workers: {slots: 1, handlers: [myapp.jobs, more], lease: 5, drain: 500ms}
console: {host: localhost, port: 9}
lock: {ttl: 20s, lock_delay: 0s}
shutdown: {deadline: 2s}
supervision: {intensity: {max_restarts: 0, period: 1m}, backoff: {base: 1s, cap: 2s},
              stable_after: 3s}
"""
        ),
        {},
    )
    assert config.data == Path("/var/lib/forebay")
    topic = config.topic("a.b_c-D")
    assert (topic.partitions, topic.queue, topic.acks, topic.rate) == (3, "slow", "all", 1.5)
    assert (topic.retention, topic.max_record) == (3600.0, 2**20)
    assert (topic.replication, topic.min_insync) == (5, 4)
    gate = config.gate
    assert (gate.host, gate.port, gate.zone, gate.max_body) == ("::1", 0, "eu-1", 65_536)
    assert (gate.request_timeout, gate.body_timeout, gate.header_timeout) == (1.0, 2.0, 3.0)
    assert (gate.max_connections, gate.batch_limit) == (4, 5)
    workers = config.workers
    assert (workers.slots, workers.handlers) == (1, ("myapp.jobs", "more"))
    assert (workers.lease, workers.drain) == (5.0, 0.5)
    assert (config.console.host, config.console.port) == ("localhost", 9)
    assert (config.lock.ttl, config.lock.lock_delay) == (20.0, 0.0)
    assert config.shutdown.deadline == 2.0
    supervision = config.supervision
    assert (supervision.intensity.max_restarts, supervision.intensity.period) == (0, 60.0)
    assert (supervision.backoff.base, supervision.backoff.cap) == (1.0, 2.0)
    assert supervision.stable_after == 3.0


@pytest.mark.parametrize("off", ["off", "false", "no", '"off"'])
def test_gate_workers_and_console_can_be_off(write, off):
    config = load(write(f"gate: {off}\nworkers: {off}\nconsole: {off}\n"), {})
    assert (config.gate, config.workers, config.console) == (None, None, None)


@pytest.mark.parametrize("text", ["log: off", "gate: 0", "gate: on"])
def test_nothing_else_is_off(write, text):
    assert "write a mapping" in only(write(text)).want


def test_data_is_taken_from_the_folder_of_the_file(write, tmp_path):
    assert load(write("data: ./here"), {}).data == tmp_path / "here"


def test_five_mistakes_are_five_problems_with_line_key_and_advice(write):
    path = write(
        """\
topics:
  - name: jobs
    partitions: many
    rate: fast
gate: {prot: 80}
workers:
  slots: 0
log: {url: "kafka://b1:9092/jobs"}
"""
    )
    found = problems(path)
    assert [(problem.line, problem.key) for problem in found] == [
        (3, "topics[0].partitions"),
        (4, "topics[0].rate"),
        (5, "gate.prot"),
        (7, "workers.slots"),
        (8, "log.url"),
    ]
    lines = str(ConfigError(found)).splitlines()
    assert lines[0] == (f"{path}:3: topics[0].partitions: found 'many'; write a whole number from 1 to 10000")
    assert lines[2] == f"{path}:5: gate.prot: found an unknown key; did you mean port?"
    assert "write it like kafka://" in lines[4]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("text", "line", "key", "want"),
    [
        ("a: [", 1, "", "correct it"),
        ("a: 1\nb: }\n", 2, "", "correct it"),
        ("a: \t@x\n", 1, "", "correct it"),
        ("gate:\n  port: 1\n  port: 2\n", 3, "gate.port", "line 2 already"),
        ("log: &x {}\ncoordination: *x\n", 2, "", "write the value out"),
        ("log: {<<: {url: 'sqlite:'}}\n", 1, "log", "write the values out"),
        ("log: !!python/object:os.system {}\n", 1, "log", "without a tag"),
        ("data: !!binary aGk=\n", 1, "data", "without a tag"),
        ("{}\n---\n{}\n", 2, "", "one document"),
        ("1: 2\n", 1, "1", "the keys are"),
        ("? [a]\n: 1\n", 1, "", "write keys as texts"),
        ("[a, b]\n", 1, "", "write a mapping"),
        ("hello\n", 1, "", "write a mapping"),
        ("topics: {name: jobs}\n", 1, "topics", "write a list: put it in [ ]"),
        ("log: 'kafka://b:1'\n", 1, "log", "write a mapping of url"),
        ("topics: []\n", 1, "topics", "at least 1"),
        ("topics:\n  - {}\n", 2, "topics[0].name", "name is required"),
        ("topics: [~]\n", 1, "topics[0].name", "name is required"),
        ("topics: [{name: [x]}]\n", 1, "topics[0].name", "write 1 to 240"),
        ("topics: [{name: a/b}]\n", 1, "topics[0].name", "write 1 to 240"),
        ("topics: [{name: ..}]\n", 1, "topics[0].name", "write 1 to 240"),
        (f"topics: [{{name: {'t' * 241}}}]\n", 1, "topics[0].name", "write 1 to 240"),
        ("topics: [{name: jobs}, {name: jobs.retry}]\n", 1, "topics[1].name", "nor .retry, .settled or .ends"),
        ("topics: [{name: a.settled}]\n", 1, "topics[0].name", "nor .retry, .settled or .ends"),
        ("topics: [{name: a.ends}]\n", 1, "topics[0].name", "nor .retry, .settled or .ends"),
        ("topics: [{name: jobs, acks: some}]\n", 1, "topics[0].acks", "leader or all"),
        ("topics: [{name: 2024}]\n", 1, "topics[0].name", "put it in quotes"),
        ("topics:\n- {name: a}\n- {name: a}\n", 3, "topics[1].name", "a name of its own"),
        ("topics:\n- name: a\n  queue: b\n", 3, "topics[0].queue", "queues (main)"),
        ("topics:\n- name: a\n  replication: 1\n", 2, "topics[0].min_insync", "at most the number of replication"),
        ("topics:\n- {name: a, min_insync: 4}\n", 2, "topics[0].min_insync", "at most the number of replication"),
        ("topics:\n- {name: a, acks: all, replication: 2}\n", 2, "topics[0].acks", "or acks to leader"),
        ("topics:\n- {name: a, acks: all, min_insync: 1}\n", 2, "topics[0].acks", "or acks to leader"),
        ("queues:\n  other: {}\n", 1, "topics[0].queue", "queues (other)"),
        ("queues: {a/b: {}, main: {}}\n", 1, "queues.a/b", "write 1 to 64"),
        ("queues: {}\n", 1, "queues", "at least one name"),
        ("queues: {main: {url: 'redis:'}}\n", 1, "queues.main.url", "write it like redis://"),
        ("queues: {main: {url: 'redis://r/0?db=1'}}\n", 1, "queues.main.url", "write it like redis://"),
        ("queues: {main: {url: 'rediss://r?ssl_cert_reqs=none'}}\n", 1, "queues.main.url", "write it like rediss://"),
        ("coordination: {url: 'consul://c/v1'}\n", 1, "coordination.url", "write it like consul://"),
        ("coordination: {url: 'consul://user:pass@c'}\n", 1, "coordination.url", "write it like consul://"),
        ("log: {url: 'kafka://a:1,b:65536'}\n", 1, "log.url", "write it like kafka://"),
        ("queues: {main: {url: 'redis://u:99999@r:65536/0'}}\n", 1, "queues.main.url", "write it like redis://"),
        ("log: {url: 'kafka://'}\n", 1, "log.url", "write it like kafka://"),
        ("log: {url: 'kafka://a:1,,b:2'}\n", 1, "log.url", "write it like kafka://"),
        ("log: {url: 'kafka://user@a:1'}\n", 1, "log.url", "write it like kafka://"),
        ("log: {url: redis://r}\n", 1, "log.url", "knows no scheme redis"),
        ("log: {url: sqlite:///x}\n", 1, "log.url", '"sqlite:" alone'),
        ("log: {url: here}\n", 1, "log.url", "write the log's URL"),
        ("gate:\n  zone: no\n", 2, "gate.zone", "put it in quotes"),
        ("gate:\n  port: 1.5\n", 2, "gate.port", "whole number"),
        ("gate:\n  port: 70000\n", 2, "gate.port", "from 0 to 65535"),
        ("gate:\n  host: a b\n", 2, "gate.host", "host name"),
        ("gate:\n  max_body: 4Mb\n", 2, "gate.max_body", "write a size"),
        ("gate:\n  body_timeout: 0\n", 2, "gate.body_timeout", "from 10ms"),
        ("gate:\n  body_timeout: .nan\n", 2, "gate.body_timeout", "write a duration"),
        ("workers:\n  handlers: myapp\n", 2, "workers.handlers", "write a list"),
        ("workers:\n  handlers:\n  - my app\n", 3, "workers.handlers[0]", "dotted name"),
        ("workers: {handlers: [jobs.py]}\n", 1, "workers.handlers[0]", "without .py"),
        ("console:\n  port: 8080\n", 2, "console.port", "another port"),
        ("supervision:\n  backoff: {base: 40s}\n", 2, "supervision.backoff", "cap is 30.0 s"),
        ("data: ''\n", 1, "data", "path of a folder"),
        ("gate: {port: !!int ''}\n", 1, "gate.port", "decimal digits"),
    ],
)
def test_each_mistake_has_its_line_key_and_advice(write, text, line, key, want):
    problem = only(write(text))
    assert (problem.line, problem.key) == (line, key)
    assert want in problem.want
    assert problem.found


def test_a_default_that_is_in_the_way_is_told_with_its_number(write):
    problem = only(write("topics: [{name: jobs, acks: all, replication: 1}]\n"))
    assert problem.found == "2, more than the 1 of replication"


def test_a_file_that_cannot_be_read_is_such_an_error_too(tmp_path):
    assert "No such file" in only(tmp_path / "nothing.yaml").found
    assert "directory" in only(tmp_path).found


def test_a_file_that_is_not_utf_8_is_such_an_error_too(write):
    assert "UTF-8" in only(write(b"data: \xff")).found
    assert "invalid YAML" in only(write(b"data: \x00")).found


def test_aliases_that_stand_for_gigabytes_are_refused_at_once(write):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 40)]
    assert {problem.want for problem in problems(write("\n".join(lines)))} == {"write the value out"}


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{a: " * 50_000, "- " * 5_000 + "x"])
def test_deep_nesting_is_an_error_and_no_crash(write, text):
    assert problems(write(text))


def test_a_huge_file_is_refused(write):
    assert "characters" in only(write("#" * (2**20 + 1))).found
    assert "characters" in only(write("#" * 2**23)).found


def test_variables_are_replaced_and_typed_by_the_option(write):
    text = """
gate: {port: "${PORT}", zone: "${ZONE:-b}", body_timeout: "${WAIT}"}
console: ${CONSOLE}
data: "${BASE}/x/$${y}"
"""
    environ = {"PORT": "99", "WAIT": "5m", "CONSOLE": "off", "BASE": "/srv", "ZONE": ""}
    config = load(write(text), environ)
    assert (config.gate.port, config.gate.zone, config.gate.body_timeout) == (99, "b", 300.0)
    assert config.console is None
    assert config.data == Path("/srv/x/${y}")


def test_a_variable_cannot_change_the_structure(write):
    problem = only(write("gate: ${GATE}"), {"GATE": "{port: 1}"})
    assert problem.key == "gate"


def test_a_missing_variable_is_named_with_its_line(write):
    problem = only(write("gate:\n  port: ${PORT}\n"))
    assert (problem.line, problem.key) == (2, "gate.port")
    assert "${PORT}" in problem.found
    assert "PORT" in problem.want


@pytest.mark.parametrize("text", ["data: ${", "data: ${}", "data: ${1x}", "data: ${A"])
def test_a_bad_reference_says_how_to_write_one(write, text):
    assert "${NAME}" in only(write(text)).want


@pytest.mark.parametrize(
    ("port", "url", "address"),
    [
        ("log", "kafka://b1", "b1"),
        ("log", "kafka://b1:9092,[::1]:9093", "b1:9092,[::1]:9093"),
        ("coordination", "consul://c", "c"),
        ("coordination", "consul://pass@c.example:8500?dc=east", "pass@c.example:8500?dc=east"),
        ("queue", "redis://r", "r"),
        ("queue", "rediss://r:6380/1", "r:6380/1"),
        ("queue", "rediss://:pass@r?ssl_ca_certs=/etc/ca.pem", ":pass@r?ssl_ca_certs=/etc/ca.pem"),
        ("queue", "redis://99999:pass@r.example:6379/3", "99999:pass@r.example:6379/3"),
    ],
)
def test_a_server_is_named_by_its_url(write, port, url, address):
    option = "queues: {main: {url: URL}}" if port == "queue" else f"{port}: {{url: URL}}"
    config = load(write(option.replace("URL", f"'{url}'")), {})
    found = config.queues["main"].url if port == "queue" else getattr(config, port).url
    assert (found.text, found.address, found.embedded) == (url, address, False)
    assert "pass" not in config.describe() + repr(config)


SECRET = "hunter2"


def test_what_came_from_the_environment_is_not_in_errors(write):
    text = """
data: ${S}
gate: {port: "${S}", host: "x ${S}"}
topics: [{name: "a/${S}"}, {name: b, queue: "${S}"}]
log: {url: "kafka://${S}/"}
workers: {handlers: ["${S} x"]}
${S}: 1
unknown: ${S}
"""
    found = problems(write(text), {"S": SECRET})
    assert len(found) == 8
    assert SECRET not in str(ConfigError(found))


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@host/0",
        f"redis://:{SECRET}@host",
        f"redis://user:a@b/{SECRET}@host",
        f"kafka://host?password={SECRET}",
        f"kafka://host#{SECRET}",
        f"user:{SECRET}@host",
        f"{SECRET}@host",
        f"http://{SECRET}@",
    ],
)
@pytest.mark.parametrize("key", ["data: {} # {}", "log: {}", "log: {{url: {}}}", "gate: {{port: {}}}"])
def test_what_a_url_hides_is_not_in_errors(write, url, key):
    quoted = f'"{url}"'
    text = key.format(quoted, quoted).replace("data: ", "gate: {zone: ").replace(" # ", "} # ")
    assert SECRET not in str(ConfigError(problems(write(text))))


def test_a_url_used_as_a_name_is_masked_too(write):
    text = f'queues: {{"redis://u:{SECRET}@h": {{}}}}\n"http://u:{SECRET}@h": 1\n'
    assert SECRET not in str(ConfigError(problems(write(text))))


def test_what_came_from_the_environment_is_not_shown():
    config = from_mapping(
        {
            "data": "/x/${S}",
            "topics": [{"name": "${S}", "partitions": "${N}"}],
            "workers": {"handlers": ["a.${S}"]},
            "gate": {"port": "${N}"},
            "supervision": {"intensity": {"period": "${N}"}},
        },
        environ={"S": SECRET, "N": "4711"},
    )
    assert config.topics[0].name == SECRET
    assert config.gate.port == 4711
    for shown in (repr(config), str(config), config.describe(), repr(config.gate)):
        assert SECRET not in shown
        assert "4711" not in shown
        assert "***" in shown


def test_the_description_is_yaml_that_means_the_same(write):
    text = """
data: /srv
queues: {main: {}, q: {}}
topics: [{name: a, rate: 7/h, retention: 90m, queue: q}]
gate: off
workers: {handlers: [a.b], drain: 0}
"""
    config = load(write(text), {})
    assert load(write(config.describe()), {}) == config
    assert "rate: 7/h" in config.describe()


def test_a_mapping_gives_the_same_errors_without_lines():
    with pytest.raises(ConfigError) as caught:
        from_mapping({"gate": {"port": "x"}, "topics": [{"name": "a", "queue": "b"}]}, "my app")
    assert [str(problem)[:22] for problem in caught.value.problems] == [
        "my app: gate.port: fou",
        "my app: topics[0].queu",
    ]


def test_a_mapping_that_contains_itself_is_an_error():
    loop = {}
    loop["gate"] = loop
    with pytest.raises(ConfigError):
        from_mapping(loop)


def test_follow_up_problems_are_not_reported(write):
    text = "queues: {main: {url: 5}}\ntopics: [{name: a, queue: x}]\n"
    assert only(write(text)).key == "queues.main.url"
