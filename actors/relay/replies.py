"""Answering another role."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from forebay.actors.mailbox import ActorStopped
from forebay.actors.ref import Ref


def answer(to: Ref[Any], message: object) -> None:
    """Tell the one who asked. If it has gone for good, nobody misses the answer."""
    with suppress(ActorStopped):
        to.tell(message)
