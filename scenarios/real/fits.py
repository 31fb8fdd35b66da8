"""Whether a scenario can be run on real servers: what only a simulation can do is refused before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from forebay.config.nodes import Node
from forebay.config.problems import Problems
from forebay.config.yaml_reader import read_yaml
from forebay.scenarios.real.fleet_of import redis_urls
from forebay.scenarios.real.site import needs_brokers
from forebay.scenarios.real.verbs import REAL_VERBS
from forebay.scenarios.replay.amounts import Fixed
from forebay.scenarios.replay.invariants import CHECKS, SIMULATED
from forebay.scenarios.replay.places import at, items, names_outside
from forebay.scenarios.replay.schema import LISTS, Fault, Scenario
from forebay.scenarios.replay.sightings import SIGHTINGS, UNSEEN
from forebay.scenarios.servers.kafka_cluster import RACKS

REDIS: Final = 2
"""Redis servers that a site has for queues; the first has a replica."""
ZONES: Final = len(set(RACKS.values()))


def check_fits(scenario: Scenario, path: Path) -> None:
    """Refuse what real servers do not have. `path` is the file that it was read from.

    Raises `ConfigError` with every such place and its line.
    """
    problems = Problems(str(path))
    node = read_yaml(path.read_text(encoding="utf-8-sig"), {}, problems)
    for fault, place in zip(scenario.faults, items(node, "faults"), strict=True):
        _check_fault(scenario, fault, place, problems)
    _check_checks(scenario, node, problems)
    _check_servers(scenario, node, problems)
    problems.raise_any()


def _check_fault(scenario: Scenario, fault: Fault, place: Node, problems: Problems) -> None:
    do = at(place, "do")
    if fault.do not in REAL_VERBS:
        problems.add(do.path, do.line, f"{fault.do}, which only the simulation can do", "run it with --on sim")
    queues = list(scenario.topology.queues.values())
    followed = [name for name, queue in scenario.topology.queues.items() if queue.url == queues[0].url]
    queue = fault.args.get("queue")
    if fault.do == "redis.failover" and not (isinstance(queue, Fixed) and queue.value in followed):
        inner = at(place, "queue")
        want = f"name {followed[0]}, or run it with --on sim: on real servers the first Redis has a replica"
        problems.add(inner.path, inner.line, "a queue whose Redis has no replica", want)


def _check_checks(scenario: Scenario, node: Node, problems: Problems) -> None:
    want = "run it with --on sim: real servers do not show what it looks at"
    sightings = SIGHTINGS if scenario.design == LISTS else SIGHTINGS.keys() - UNSEEN
    for place, name, _ in names_outside(scenario.invariants, node, CHECKS.keys() - SIMULATED, sightings):
        problems.add(place.path, place.line, f"{name}, which only the simulation can check", want)


def _check_servers(scenario: Scenario, node: Node, problems: Problems) -> None:
    urls = redis_urls(scenario.topology)
    if len(urls) > REDIS:
        place = at(node, "topology", "queues")
        want = f"use at most {REDIS} URLs, or run it with --on sim"
        problems.add(place.path, place.line, f"{len(urls)} Redis servers", want)
    kafka = scenario.kafka
    if needs_brokers(scenario) and (kafka.brokers > len(RACKS) or kafka.zones != ZONES):
        place = at(node, "kafka")
        want = f"use at most {len(RACKS)} brokers in {ZONES} zones, or run it with --on sim"
        problems.add(place.path, place.line, f"{kafka.brokers} brokers in {kafka.zones} zones", want)
