"""What a scenario of the old design cannot have: all that its few lines of code do not do, and checks of what it has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from forebay.config.nodes import Node
from forebay.config.problems import Problems
from forebay.scenarios.replay.places import at, items, names_outside, text_at
from forebay.scenarios.replay.schema import LISTS, Post, Scenario
from forebay.scenarios.replay.verbs import VERBS

ACTS: Final = frozenset({"jobs.fail", "jobs.slow", "redis.limit"})
CHECKS: Final = frozenset({"nothing-lost", "bytes-kept", "lag-zero", "no-duplicates"})
SIGHTINGS: Final = frozenset({"memory-full", "enqueue-refused", "job-ran-twice"})
POSTS: Final = ("again", "acks", "fails", "poison")
"""What the jobs of a queue of lists have no part in."""


def check_lists(scenario: Scenario, node: Node, problems: Problems) -> None:
    """Report everything of a scenario of `design: lists` that only forebay does."""
    for place, found in (*_topology(scenario, node), *_faults(node), *_posts(scenario, node), *_named(scenario, node)):
        want = f"leave it out, or write design: forebay; {LISTS} has one topic and {', '.join(sorted(ACTS))}"
        problems.add(place.path, place.line, found, want)


def _topology(scenario: Scenario, node: Node) -> Iterator[tuple[Node, str]]:
    if len(scenario.topology.topics) > 1:
        yield at(node, "topology", "topics"), "several topics"
    if scenario.topology.workers is None:
        yield at(node, "topology", "workers"), "no workers"


def _faults(node: Node) -> Iterator[tuple[Node, str]]:
    for place in items(node, "faults"):
        do = text_at(place, "do")
        if do in VERBS and do not in ACTS:
            yield at(place, "do"), f"{do}, which nothing can do to {LISTS}"


def _posts(scenario: Scenario, node: Node) -> Iterator[tuple[Node, str]]:
    usual = attrs.fields_dict(Post)
    for index, post in enumerate(scenario.workload):
        for name in POSTS:
            if getattr(post, name) != usual[name].default:
                yield at(node, "workload", index, name), f"{name}, which jobs of {LISTS} have not"


def _named(scenario: Scenario, node: Node) -> Iterator[tuple[Node, str]]:
    for place, name, _ in names_outside(scenario.invariants, node, CHECKS, SIGHTINGS):
        yield place, f"{name}, which {LISTS} have nothing to show of"
