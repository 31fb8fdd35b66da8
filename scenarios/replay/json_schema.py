"""The format of scenario files as a JSON Schema, for editors and programs. It refuses nothing that the reader takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from forebay.config import Config
from forebay.config.kinds import Kind, ListOf, MapOf, Scalar, kind_of, options
from forebay.scenarios.replay.amounts import drawn
from forebay.scenarios.replay.counts import COUNTS
from forebay.scenarios.replay.invariants import CHECKS
from forebay.scenarios.replay.schema import Expect, Fault, Invariants, Scenario
from forebay.scenarios.replay.sightings import SIGHTINGS
from forebay.scenarios.replay.verb import Verb
from forebay.scenarios.replay.verbs import VERBS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """The schema, as plain data."""
    schema = _section(Scenario)
    schema["required"].append("topology")  # it has a default in code, which only a part of a scenario makes use of
    schema["$defs"] = {"Fault": _section(Fault)}
    schema["properties"]["faults"] = {"type": "array", "items": {"oneOf": [_fault(n, v) for n, v in VERBS.items()]}}
    return {"$schema": DIALECT, "title": "A scenario of forebay", **schema}


def _of(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, Scalar):
        return dict(kind.schema)
    if isinstance(kind, ListOf):
        return {"type": "array", "items": _of(kind.item), "minItems": kind.least}
    if isinstance(kind, MapOf):
        return {"type": "object", "additionalProperties": _of(kind.item), "minProperties": 1}
    section = _section(kind.cls)
    if kind.cls is Config:
        return {"anyOf": [section, {"type": "string", "description": "the path of a configuration file"}]}
    return {"anyOf": [section, {"enum": [False, "off", "no", "false", None]}]} if kind.may_be_off else _or_nothing(section)


def _section(cls: type[Any]) -> dict[str, Any]:
    fields = options(cls)
    required = [name for name, option in fields.items() if option.default is attrs.NOTHING]
    schema = _object({name: _property(cls, name, option) for name, option in fields.items()}, required)
    return {"description": " ".join((cls.__doc__ or "").split()), **schema}


def _property(cls: type[Any], name: str, option: attrs.Attribute[Any]) -> dict[str, Any]:
    if cls is Invariants:
        return {"type": "array", "items": {"enum": list(CHECKS if name in {"always", "eventually"} else SIGHTINGS)}}
    schema = _of(kind_of(option))
    if cls is Expect and name == "counts":
        schema["propertyNames"] = {"enum": list(COUNTS)}
    return schema


def _fault(name: str, verb: Verb) -> dict[str, Any]:
    known = (key for key in options(Fault) if key != "lasts" or verb.end is not None)
    properties: dict[str, Any] = {key: {"$ref": f"#/$defs/Fault/properties/{key}"} for key in known}
    properties["do"] = {"const": name}
    for argument, spec in verb.args.items():
        properties[argument] = {"description": spec.about, **_of(drawn(spec.kind))}
    return {**_object(properties, ["id", "do", *verb.args]), "description": verb.about}


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


def _or_nothing(section: dict[str, Any]) -> dict[str, Any]:
    """A key with nothing behind it is an empty mapping; where a section has required keys, that is refused."""
    return section if section["required"] else {**section, "type": ["object", "null"]}
