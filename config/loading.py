"""From a file or a mapping to a checked `Config`, or to one error that lists every problem."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from .checks import check
from .kinds import Section
from .nodes import Environment, Node, from_data
from .problems import Problems
from .schema import Config
from .structure import INVALID, read
from .yaml_reader import MAX_TEXT, read_yaml


def load(path: Path, environ: Environment) -> Config:
    """The configuration in the YAML file `path`; `${NAME}` is replaced from `environ`.

    A relative `data` is taken from the file's own folder, so that it does not depend on where the
    process was started. Raises `ConfigError`.
    """
    problems = Problems(str(path))
    text = read_text(path, "name a configuration file", problems)
    problems.raise_any()
    config = _structure(read_yaml(text, environ, problems), problems)
    return evolve(config, data=path.parent / config.data)


def from_mapping(mapping: Mapping[str, Any], source: str = "<mapping>", environ: Environment = None) -> Config:
    """The configuration in plain Python data of the same form; `source` names it in errors.

    A relative `data` is taken from the working directory. Raises `ConfigError`.
    """
    problems = Problems(source)
    return _structure(from_data(mapping, environ, problems), problems)


def _structure(node: Node, problems: Problems) -> Config:
    if node.value == {} and problems.found:  # the text could not be read: nothing more to say
        problems.raise_any()
    if node.value is None:
        node = Node("", node.line, {})
    config = read(Section(Config), node, problems)
    if config is not INVALID:
        check(config, node, problems)
    problems.raise_any()
    assert isinstance(config, Config)
    return config


def read_text(path: Path, want: str, problems: Problems) -> str:
    """What a file says, if that is text and not much too long; `want` is the advice if it cannot be read at all."""
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_TEXT + 1)
        return data.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problems.add("", None, f"no readable file ({reason})", want)
    except UnicodeDecodeError as error:
        problems.add("", None, f"a byte that is not UTF-8 at {error.start}", "save it as UTF-8")
    except ValueError:
        problems.add("", None, "a path with a NUL in it", want)
    return ""
