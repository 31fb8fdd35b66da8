"""From a YAML file or a mapping to a checked `Scenario`, or to one error that lists every problem with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from forebay.config import Config, ConfigError, load
from forebay.config.checks import check as check_config
from forebay.config.kinds import Section, options
from forebay.config.loading import read_text
from forebay.config.nodes import Node, from_data, join
from forebay.config.problems import Problems, describe_value
from forebay.config.structure import INVALID, nearest, read, refuse_unknown
from forebay.config.yaml_reader import read_yaml
from forebay.scenarios.replay.amounts import Amount, drawn
from forebay.scenarios.replay.checks import check
from forebay.scenarios.replay.schema import Fault, Scenario
from forebay.scenarios.replay.verb import Verb
from forebay.scenarios.replay.verbs import VERBS

TOPOLOGY: Final = "topology"
FAULTS: Final = "faults"


def load_scenario(path: Path) -> Scenario:
    """The scenario in a YAML file. A topology given as a path is taken from the file's own folder.

    No environment is looked at: a scenario depends on nothing but its file. Raises `ConfigError`.
    """
    problems = Problems(str(path))
    text = read_text(path, "name a scenario file", problems)
    problems.raise_any()
    return read_scenario(text, str(path), path.parent)


def read_scenario(text: str, source: str, folder: Path) -> Scenario:
    """The scenario in a YAML text; `source` names it in errors, paths in it start from `folder`. Raises `ConfigError`."""
    problems = Problems(source)
    node = read_yaml(text, None, problems)
    problems.raise_any()
    return _structured(node, problems, folder)


def scenario_from(mapping: Mapping[str, Any], source: str = "<mapping>", folder: Path = Path()) -> Scenario:
    """The scenario in plain data of the same form. Raises `ConfigError`."""
    problems = Problems(source)
    return _structured(from_data(mapping, None, problems), problems, folder)


def _structured(node: Node, problems: Problems, folder: Path) -> Scenario:
    members = node.value if isinstance(node.value, dict) else {}
    rest = {key: inner for key, inner in members.items() if key not in {TOPOLOGY, FAULTS}}
    scenario = read(Section(Scenario), evolve(node, value=rest if isinstance(node.value, dict) else node.value), problems)
    topology = _topology(members.get(TOPOLOGY), node, problems, folder)
    faults = _faults(members[FAULTS], problems) if FAULTS in members else ()
    if scenario is not INVALID and topology is not None:
        scenario = evolve(scenario, topology=topology, faults=faults)
        check(scenario, node, problems)
    problems.raise_any()
    assert isinstance(scenario, Scenario)
    return scenario


# --- the production configuration


def _topology(node: Node | None, around: Node, problems: Problems, folder: Path) -> Config | None:
    """None where it has a problem: what depends on it is not looked at then."""
    if node is None:
        if isinstance(around.value, dict):
            want = "topology is required here: a configuration, or the path of a file that holds it"
            problems.add(TOPOLOGY, around.line, "nothing", want)
        return None
    if isinstance(node.value, str):
        try:
            return load(folder / node.value, None)
        except ConfigError as error:
            problems.found.extend(error.problems)
            return None
    inner = Problems(problems.source)
    rooted = _rooted(node, node.path)
    config = read(Section(Config), rooted, inner)
    if config is not INVALID and isinstance(rooted.value, dict):
        check_config(config, rooted, inner)
    for problem in inner.found:
        problems.add(join(node.path, problem.key) if problem.key else node.path, problem.line, problem.found, problem.want)
    return config if isinstance(config, Config) and not inner.found else None


def _rooted(node: Node, path: str) -> Node:
    """The node as if it stood at the top of a file of its own: its keys are then named as the configuration names them."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _rooted(inner, path) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [_rooted(inner, path) for inner in value]
    return evolve(node, path=node.path.removeprefix(path).removeprefix("."), value=value)


# --- faults: their keys depend on what is done


def _faults(node: Node, problems: Problems) -> tuple[Fault, ...]:
    if not isinstance(node.value, list):
        problems.add(node.path, node.line, "no list", "write a list of faults, each with an id and what to do")
        return ()
    read_ones = (_fault(item, problems) for item in node.value)
    return tuple(fault for fault in read_ones if fault is not None)


def _fault(node: Node, problems: Problems) -> Fault | None:
    if not isinstance(node.value, dict):
        problems.add(node.path, node.line, "no mapping", "write a mapping like {id: kill, do: host.kill, host: a, at: 5s}")
        return None
    do = node.value.get("do")
    verb = VERBS.get(str(do.value)) if do is not None else None
    own = () if verb is None else verb.args
    base = {key: inner for key, inner in node.value.items() if key not in own}
    if do is not None and verb is None:
        _unknown_verb(do, problems)
        base = {key: inner for key, inner in base.items() if key in options(Fault)}
    elif verb is not None:
        refuse_unknown(evolve(node, value=base), [*options(Fault), *own], problems)
        base = {key: inner for key, inner in base.items() if key in options(Fault)}
    fault = read(Section(Fault), evolve(node, value=base), problems)
    if not isinstance(fault, Fault) or verb is None:
        return None
    return evolve(fault, args=_arguments(verb, node, problems))


def _arguments(verb: Verb, node: Node, problems: Problems) -> dict[str, Amount[Any]]:
    found: dict[str, Amount[Any]] = {}
    for name, argument in verb.args.items():
        inner = node.value.get(name)
        if inner is None:
            problems.add(join(node.path, name), node.line, "nothing", f"{name} is required here: {argument.about}")
            continue
        value = read(drawn(argument.kind), inner, problems)
        if value is not INVALID:
            found[name] = value
    return found


def _unknown_verb(node: Node, problems: Problems) -> None:
    problems.add(node.path, node.line, f"{describe_value(node.value)}, which is no verb", nearest(str(node.value), VERBS))
