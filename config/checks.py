"""What must hold between options. Options that already have a problem are left alone."""

from __future__ import annotations

from .nodes import Node
from .problems import Problems, describe_value
from .schema import Config

_DEFAULT_QUEUE = "main"

ALL_REPLICATION = 3
ALL_INSYNC = 2
"""Copies that a topic needs, and copies that must have a record, for `acks: all` to survive the loss of a broker."""


def check(config: Config, node: Node, problems: Problems) -> None:
    """Report every pair of options that cannot stand together."""
    topics = node.value.get("topics")
    items = topics.value if topics is not None and isinstance(topics.value, list) else []
    _check_names(items, problems)
    _check_copies(config, items, problems)
    _check_queues(config, items or [Node("topics[0]", node.line, {})], problems)
    _check_ports(config, node, problems)


def _check_names(topics: list[Node], problems: Problems) -> None:
    seen: set[str] = set()
    for topic in topics:
        name = _member(topic, "name")
        if name is None or not isinstance(name.value, str) or problems.at(name.path):
            continue
        if name.value in seen:
            want = "give each topic a name of its own"
            problems.add(name.path, name.line, f"a second topic {_shown(name)}", want)
        seen.add(name.value)


def _check_copies(config: Config, topics: list[Node], problems: Problems) -> None:
    """Refuse what no cluster can keep, on an embedded log too: the file is to hold with other URLs as well."""
    for topic, node in zip(config.topics, topics, strict=False):
        if problems.at(node.path):
            continue
        if topic.min_insync > topic.replication:
            where = _member(node, "min_insync") or node
            want = "write at most the number of replication, or raise that"
            found = f"{topic.min_insync}, more than the {topic.replication} of replication"
            problems.add(f"{node.path}.min_insync", where.line, found, want)
        elif topic.acks == "all" and (topic.replication < ALL_REPLICATION or topic.min_insync < ALL_INSYNC):
            where = _member(node, "acks") or node
            want = f"set replication to {ALL_REPLICATION} and min_insync to {ALL_INSYNC} or more, or acks to leader"
            problems.add(f"{node.path}.acks", where.line, "a promise that so few copies cannot keep", want)


def _check_queues(config: Config, topics: list[Node], problems: Problems) -> None:
    if problems.at("queues"):
        return
    for topic in topics:
        queue = _member(topic, "queue") or Node(f"{topic.path}.queue", topic.line, _DEFAULT_QUEUE)
        if problems.at(topic.path) and (problems.at(queue.path) or topic.value is None):
            continue
        if isinstance(queue.value, str) and queue.value not in config.queues:
            names = ", ".join(sorted(config.queues))
            want = f"name one of the queues ({names}) or add it to queues"
            problems.add(queue.path, queue.line, _shown(queue), want)


def _check_ports(config: Config, node: Node, problems: Problems) -> None:
    gate, console = config.gate, config.console
    if gate is None or console is None or console.port == 0:
        return
    if (gate.host, gate.port) == (console.host, console.port):
        port = _locate(node, "console", "port")
        if not (problems.at("gate") or problems.at("console")):
            problems.add("console.port", port.line, "the gate's own port", "choose another port")


def _member(node: Node, key: str) -> Node | None:
    """The value at `key`; None if it is not given."""
    inner = node.value.get(key) if isinstance(node.value, dict) else None
    return None if inner is None or (inner.value is None and not inner.broken) else inner


def _locate(node: Node, *keys: str) -> Node:
    """The node at a path, or the nearest one around it."""
    for key in keys:
        inner = _member(node, key)
        if inner is None:
            return node
        node = inner
    return node


def _shown(node: Node) -> str:
    return "a name from the environment" if node.secret else describe_value(node.value)
