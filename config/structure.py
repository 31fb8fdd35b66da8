"""A tree of nodes to attrs sections, by the kinds on their fields; every problem is reported."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Final

import attrs

from .kinds import Kind, ListOf, MapOf, Scalar, Section, kind_of, options
from .nodes import Node, join
from .problems import Problems, describe_value, shorten

INVALID: Final = object()
"""What stands for a value that could not be read; its problem has been reported."""

_OFF = ("off", "false", "no")


def read(kind: Kind, node: Node, problems: Problems) -> Any:
    """The value of `node` as `kind` has it, or `INVALID`."""
    if node.broken:
        return INVALID
    if isinstance(kind, Scalar):
        return _read_scalar(kind, node, problems)
    if isinstance(kind, Section):
        return _read_section(kind, node, problems)
    if isinstance(kind, ListOf):
        return _read_list(kind, node, problems)
    return _read_map(kind, node, problems)


def _read_scalar(kind: Scalar[Any], node: Node, problems: Problems) -> Any:
    try:
        return kind.read(node.value)
    except ValueError as error:
        return _reject(node, problems, str(error))


def _read_list(kind: ListOf, node: Node, problems: Problems) -> Any:
    if not isinstance(node.value, list):
        return _reject(node, problems, "write a list: put it in [ ]")
    if len(node.value) < kind.least:
        problems.add(node.path, node.line, "an empty list", f"write at least {kind.least}")
        return INVALID
    return tuple(_readable(read(kind.item, item, problems) for item in node.value))


def _read_map(kind: MapOf, node: Node, problems: Problems) -> Any:
    if not isinstance(node.value, dict):
        return _reject(node, problems, "write a mapping of names")
    if not node.value:
        problems.add(node.path, node.line, "an empty mapping", "write at least one name")
        return INVALID
    for name, inner in node.value.items():
        try:
            kind.name.read(name)
        except ValueError as error:
            problems.add(inner.path, inner.line, f"the name {shorten(name)!r}", str(error))
    values = {name: read(kind.item, inner, problems) for name, inner in node.value.items()}
    return {name: value for name, value in values.items() if value is not INVALID}


def _read_section(kind: Section, node: Node, problems: Problems) -> Any:
    if kind.may_be_off and (node.value is False or node.value in _OFF):
        return None
    if node.value is None:
        return read(kind, Node(node.path, node.line, {}), problems)
    fields = options(kind.cls)
    if not isinstance(node.value, dict):
        return _reject(node, problems, f"write a mapping of {', '.join(fields)}" + ", or off" * kind.may_be_off)
    refuse_unknown(node, fields, problems)
    before = len(problems.found)
    values = {name: _read_field(field, node, problems) for name, field in fields.items()}
    given = {name: value for name, value in values.items() if value is not INVALID}
    if any(f.default is attrs.NOTHING and name not in given for name, f in fields.items()):
        return INVALID
    return _build(kind.cls, given, node, problems, sound=len(problems.found) == before)


def _build(cls: type[Any], given: dict[str, Any], node: Node, problems: Problems, *, sound: bool) -> Any:
    """The section; with defaults where a value was refused, so that later checks find more."""
    hidden = _secret_fields(cls, node)
    extra = {"masked": hidden} if hasattr(cls, "masked") else {}
    try:
        return cls(**given, **extra)
    except ValueError as error:  # fields that do not fit one another
        if sound:
            problems.add(node.path, node.line, "values that do not fit", str(error))
        return INVALID


def _secret_fields(cls: type[Any], node: Node) -> frozenset[str]:
    """Fields of `cls` that came from the environment; a section inside hides its own fields."""
    return frozenset(
        name
        for name, option in options(cls).items()
        if name in node.value and node.value[name].secret and not hides_its_own(kind_of(option))
    )


def hides_its_own(kind: Kind) -> bool:
    """True if values of this kind are sections that know which of their fields are secret."""
    if isinstance(kind, ListOf | MapOf):
        return hides_its_own(kind.item)
    return isinstance(kind, Section) and hasattr(kind.cls, "masked")


def _read_field(field: attrs.Attribute[Any], node: Node, problems: Problems) -> Any:
    inner = node.value.get(field.name)
    if inner is not None and (inner.value is not None or inner.broken):
        return read(kind_of(field), inner, problems)
    if field.default is attrs.NOTHING:
        path = join(node.path, field.name)
        problems.add(path, node.line, "nothing", f"{field.name} is required here")
    return INVALID


def refuse_unknown(node: Node, fields: Iterable[str], problems: Problems) -> None:
    """Report every key of a mapping that is none of `fields`, with the nearest of these."""
    names = sorted(fields)
    for name, inner in node.value.items():
        if name not in names:
            problems.add(inner.path, inner.line, "an unknown key", nearest(name, names, "the keys are"))


def nearest(name: str, known: Iterable[str], otherwise: str = "write one of") -> str:
    """Advice about a name that is not known: the known one that is most like it, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"{otherwise} {', '.join(names)}"


def _reject(node: Node, problems: Problems, want: str) -> Any:
    found = f"a value from the environment ({node.variable})" if node.variable is not None else describe_value(node.value)
    problems.add(node.path, node.line, found, want)
    return INVALID


def _readable(values: Iterable[Any]) -> Iterable[Any]:
    return (value for value in values if value is not INVALID)
