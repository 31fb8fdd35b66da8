"""Values of options as plain data, as YAML has them: what the reader reads back to the same values."""

from __future__ import annotations

from typing import Any

from .kinds import Kind, ListOf, MapOf, Scalar, kind_of, options
from .problems import MASK


def plain_of(kind: Kind, value: Any, *, defaults: bool = True) -> object:
    """The value as mappings, lists and scalars, secrets masked; without `defaults`, what has its default is left out."""
    if isinstance(kind, Scalar):
        return kind.show(value)
    if isinstance(kind, ListOf):
        return [plain_of(kind.item, item, defaults=defaults) for item in value]
    if isinstance(kind, MapOf):
        return {name: plain_of(kind.item, item, defaults=defaults) for name, item in value.items()}
    if value is None:
        return False
    masked: frozenset[str] = getattr(value, "masked", frozenset())
    plain: dict[str, object] = {}
    for name, option in options(kind.cls).items():
        held = getattr(value, name)
        if defaults or held != default_of(option):
            plain[name] = MASK if name in masked else plain_of(kind_of(option), held, defaults=defaults)
    return plain


def default_of(option: Any) -> object:
    """The value that a field has if nothing is given; `attrs.NOTHING` where it is required."""
    default = option.default
    made = getattr(default, "factory", None)
    return default if made is None else made()
