"""What can be wrong with a configuration, said so that it can be put right. Secrets stay hidden."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import field, frozen

MASK = "***"

_USERINFO = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*:(?://)?)?.*@", re.DOTALL)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_LONGEST = 80


@frozen
class Problem:
    """One thing to put right: where it is, what was found there, what to write instead.

    `key` is the path of the key (`topics[0].rate`), empty for the file as a whole; `line` counts
    from 1 and is None where there is no text, or no line to name.
    """

    source: str
    line: int | None
    key: str
    found: str
    want: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}found {self.found}; {self.want}"


class ConfigError(Exception):
    """A configuration cannot be used. `problems` holds all of them, `str()` one on each line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@frozen
class Problems:
    """The problems of one source, collected while it is read."""

    source: str
    found: list[Problem] = field(factory=list)

    def add(self, key: str, line: int | None, found: str, want: str) -> None:
        """Note one."""
        self.found.append(Problem(self.source, line, key, found, want))

    def at(self, key: str) -> bool:
        """True if there is one at this key or inside it."""
        return any(_inside(problem.key, key) for problem in self.found)

    def raise_any(self) -> None:
        """Raise `ConfigError` with all of them, in the order of lines, if there are any."""
        if self.found:
            raise ConfigError(sorted(self.found, key=lambda problem: problem.line or 0))


def mask_url(text: str) -> str:
    """`text` without what a URL may hide: user and password, query, fragment."""
    return _QUERY.sub("?" + MASK, _USERINFO.sub(rf"\g<1>{MASK}@", text))


def describe_value(value: object) -> str:
    """A value as an error may show it: kind and, for scalars, the text; never a secret of a URL."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{'true' if value else 'false'} (YAML reads on, yes, off and no so)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(shorten(value)) if isinstance(value, str) else _number(value)


def shorten(text: str) -> str:
    """A key or value for an error: at most 80 characters, without what a URL may hide."""
    masked = mask_url(text)
    return masked if len(masked) <= _LONGEST else masked[:_LONGEST] + "..."


def _number(value: object) -> str:
    try:
        return shorten(str(value))
    except ValueError:  # Python does not spell integers of thousands of digits
        return "a very long number"


def _inside(key: str, outer: str) -> bool:
    return key == outer or key.startswith((f"{outer}.", f"{outer}["))
