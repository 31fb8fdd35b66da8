"""YAML text to a tree of nodes: with lines, without the parts of YAML that surprise.

Refused, each with its line: duplicate keys, aliases (a few lines of them can stand for gigabytes),
merge keys, tags, several documents, deep nesting, texts over 1 MiB. PyYAML reads YAML 1.1.
"""

from __future__ import annotations

import yaml

from .nodes import MAX_DEPTH, Environment, Node, broken, join, scalar
from .problems import Problems, shorten

MAX_TEXT = 2**20
"""The longest configuration text, in characters."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
_COLLECTIONS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str, environ: Environment, problems: Problems) -> Node:
    """The tree of a YAML text, variables replaced; an empty text is an empty mapping."""
    empty = Node("", 1, {})
    if len(text) > MAX_TEXT:
        problems.add("", None, f"{len(text)} characters", f"use at most {MAX_TEXT}")
        return empty
    try:
        if not _acceptable(text, problems):
            return empty
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # the parser puts the end of the text on a line of its own
        line = min(mark.line, text.rstrip().count("\n")) + 1 if mark else None
        problems.add("", line, f"invalid YAML ({error.problem or error.context})", "correct it")
        return empty
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", "unreadable")
        problems.add("", None, f"invalid YAML ({reason})", "save the file as UTF-8 text")
        return empty
    if root is None:
        return empty
    return _Builder(environ, problems).build(root, "")


def _acceptable(text: str, problems: Problems) -> bool:
    """Look at the events alone, which takes no recursion: depth, aliases, number of documents."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            problems.add("", line, f"the alias *{shorten(event.anchor or '')}", "write the value out")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                problems.add("", line, "a second document", "use one document for each file")
        if depth > MAX_DEPTH:
            problems.add("", line, "deep nesting", f"use at most {MAX_DEPTH} levels")
            return False
    return not problems.found


class _Builder:
    def __init__(self, environ: Environment, problems: Problems) -> None:
        self._environ = environ
        self._problems = problems
        self._constructor = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: str) -> Node:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            found = f"a value {_tag(node)}"
            return broken(self._problems, path, line, found, "write it without a tag")
        if isinstance(node, yaml.MappingNode):
            return Node(path, line, self._members(node, path))
        if isinstance(node, yaml.SequenceNode):
            items = [self.build(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
            return Node(path, line, items)
        return self._scalar(node, path, line)

    def _members(self, node: yaml.MappingNode, path: str) -> dict[str, Node]:
        members: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, path, line)
            if key is None:
                continue
            inner = join(path, key)
            if key in members:
                want = f"give it once (it is at line {lines[key]} already)"
                self._problems.add(inner, line, "the key a second time", want)
                continue
            lines[key] = line
            members[key] = self.build(value_node, inner)
        return members

    def _key(self, node: yaml.Node, path: str, line: int) -> str | None:
        if node.tag == _MERGE:
            self._problems.add(path, line, "the merge key <<", "write the values out")
        elif not isinstance(node, yaml.ScalarNode):
            self._problems.add(path, line, "a list or mapping as a key", "write keys as texts")
        elif node.tag not in _PLAIN:
            self._problems.add(path, line, f"a key {_tag(node)}", "write keys as plain texts")
        else:
            return str(node.value)
        return None

    def _scalar(self, node: yaml.Node, path: str, line: int) -> Node:
        if node.tag == _TIMESTAMP:
            return scalar(node.value, path, line, self._environ, self._problems)
        if node.tag not in _PLAIN:
            found = f"a value {_tag(node)}"
            return broken(self._problems, path, line, found, "write it without a tag")
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, LookupError, ArithmeticError, yaml.YAMLError):
            want = "write a number in decimal digits, or put a text in quotes"
            return broken(self._problems, path, line, repr(shorten(node.value)), want)
        return scalar(value, path, line, self._environ, self._problems)


def _tag(node: yaml.Node) -> str:
    return f"with the tag {shorten(node.tag)}"
