"""How a command ends: exit codes, and errors of the user's making as one message instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

CLEAN: Final = 0
FAILED: Final = 1
USAGE: Final = 2
FORCED: Final = 3
ABANDONED: Final = 4


class CommandFailed(click.ClickException):
    """The command could not do its work; the message says what, where and what to do."""

    exit_code = FAILED


class WrongUse(CommandFailed):
    """The configuration or the arguments are wrong; trying again changes nothing."""

    exit_code = USAGE


@contextmanager
def told() -> Iterator[None]:
    """Turn the errors that a user can put right into messages. Anything else is a bug and keeps its traceback."""
    from forebay.actors.exits import ActorError  # noqa: PLC0415 - help must not wait for it
    from forebay.backends.errors import BackendError  # noqa: PLC0415
    from forebay.config.problems import ConfigError  # noqa: PLC0415
    from forebay.jobs.registry import DuplicateHandler  # noqa: PLC0415
    from forebay.supervisors.spec import InvalidTree  # noqa: PLC0415

    try:
        yield
    except (ConfigError, DuplicateHandler, InvalidTree) as error:
        raise WrongUse(str(error)) from error
    except (ActorError, BackendError) as error:
        raise CommandFailed(str(error)) from error
