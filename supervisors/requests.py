"""Changing a tree while it runs: what can be asked of a supervisor, and the errors that come back."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

from attrs import frozen

from forebay.actors.exits import ActorError, Exit, describe


class ChildStartFailed(ActorError):
    """A child did not start; it was not added, or stays stopped. `exit` says why."""

    def __init__(self, path: str, exit_: Exit | None) -> None:
        super().__init__(f"{path} did not start: {describe(exit_) if exit_ else 'the start was cut short'}")
        self.path, self.exit = path, exit_


class NoSuchChild(ActorError):
    """There is no child of that id."""


class WrongChildState(ActorError):
    """The child is not in a state in which that can be done; the message says what to do first."""


class RestartsExhausted(ActorError):
    """A supervisor failed because one of its children kept failing. `exit` is the child's last."""

    def __init__(self, path: str, child: str, exit_: Exit) -> None:
        super().__init__(f"{path} gave up on its child {child}, which kept ending; the last time it {describe(exit_)}")
        self.path, self.child, self.exit = path, child, exit_


class Verb(enum.Enum):
    """What is asked."""

    START = "start"
    TERMINATE = "terminate"
    RESTART = "restart"
    DELETE = "delete"


@frozen
class Request:
    """One change on its way. `subject` is a ChildSpec for START, else a child's id."""

    verb: Verb
    subject: Any
    answer: asyncio.Future[Any]

    def fail(self, error: Exception) -> None:
        """Answer with an error; an asker that has gone does not mind."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def done(self, value: object = None) -> None:
        """Answer."""
        if not self.answer.done():
            self.answer.set_result(value)
