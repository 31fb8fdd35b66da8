"""Which configuration a command is about, and which data folder a running runtime has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from forebay.commands.ends import WrongUse

if TYPE_CHECKING:
    from forebay.config import Config

DEFAULT: Final = Path("forebay.yaml")


def importable(path: Path) -> Config:
    """Load a configuration whose handlers lie in, or below, the working directory. Raises `ConfigError`."""
    from forebay.config import load  # noqa: PLC0415 - help must not wait for it

    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return load(path, os.environ)


def with_handlers(path: Path) -> Config:
    """Load a configuration and import the handlers it names. Raises `WrongUse`, `ConfigError`, `DuplicateHandler`.

    What else a module of handlers raises when it is imported is shown as it is: the traceback leads to the fault.
    """
    from forebay.supervisors.job_runtime import HandlersNotLoaded, load_handlers  # noqa: PLC0415 - help must not wait for it

    config = importable(path)
    try:
        load_handlers(config)
    except HandlersNotLoaded as error:
        raise WrongUse(f"{path}: {error}") from error
    except SyntaxError as error:
        raise WrongUse(f"{error.filename}:{error.lineno}: {error.msg}; a module of handlers is not valid Python") from error
    return config


def of_running(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which running runtime it is about; it receives `config` and `data`."""
    kind = click.Path(path_type=Path)
    data = click.option("--data", type=kind, metavar="DIR", help="Its data folder, in place of a configuration.")
    file = click.option("--config", type=kind, metavar="FILE", help=f"Its configuration; by default {DEFAULT}.")
    return file(data(command))


def data_folder(config: Path | None, data: Path | None) -> Path:
    """Return the data folder that the options name. Raises `WrongUse`, `ConfigError`."""
    if config is not None and data is not None:
        raise WrongUse("--config and --data both say where the runtime is; give one of them")
    if data is not None:
        return data
    if config is None and not DEFAULT.exists():
        raise WrongUse(f"there is no {DEFAULT} here; say which runtime with --config FILE or --data DIR")
    return importable(config or DEFAULT).data
