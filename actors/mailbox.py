"""The mailbox: a deque and one waiter, in two lanes.

Why not an anyio or asyncio queue: an actor has exactly one reader, so a wake-up is one future and a message is one append.
The system lane (stop, timers, monitors, exits) is read before the user lane and is never full, because each of its senders
has at most one message of a kind there. The user lane is bounded always.

Room is given by turns. When the reader takes a message while somebody waits, the first in line gets a turn: the place is
reserved for it until it has put its message or has left, so nobody who comes later can take it. `limit` is the capacity
less what is reserved, which keeps the test on the fast path at one comparison.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import frozen

from forebay.actors.ask import Ask
from forebay.actors.exits import ActorError
from forebay.config.values import Overflow


class MailboxFull(ActorError):
    """The user lane has no room. `message` is what was not taken."""

    def __init__(self, path: str, capacity: int, message: object) -> None:
        super().__init__(f"the mailbox of {path} is full ({capacity} messages); use send() to wait for room")
        self.path, self.message = path, message


class ActorStopped(ActorError):
    """The actor has ended for good, or is ending. `message` is what was not taken, None for an ask that was cut short."""

    def __init__(self, path: str, message: object = None, why: str = "it has stopped") -> None:
        super().__init__(f"{path} takes no messages: {why}")
        self.path, self.message = path, message


@frozen
class MailboxSpec:
    """Bounds of a user lane.

    `capacity` counts messages. `overflow` says what happens to one too many: `block` (tell raises MailboxFull, send
    waits), `reject` (both raise), `drop_oldest`, `drop_newest`, `coalesce` (at any depth a message takes the place of the
    queued one with the same `key`; one without a twin is treated as under `block`). `keep` says whether messages outlive
    a restart.
    """

    capacity: int = 1024
    overflow: Overflow = Overflow.BLOCK
    keep: bool = True
    key: Callable[[Any], object] | None = None

    def __attrs_post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"a mailbox holds at least one message, not {self.capacity}")
        if (self.overflow is Overflow.COALESCE) != (self.key is not None):
            raise ValueError("overflow 'coalesce' needs a key function, and only it does")


class Mailbox:
    """Both lanes of one actor. Single reader, many writers, one event loop."""

    __slots__ = (
        "capacity",
        "closed",
        "dropped",
        "high_water",
        "limit",
        "on_drop",
        "path",
        "reserved",
        "room",
        "spec",
        "system",
        "user",
        "waiter",
    )

    def __init__(self, path: str, spec: MailboxSpec, on_drop: Callable[[object, str], None]) -> None:
        self.path = path
        self.spec = spec
        self.capacity = spec.capacity
        self.reserved = 0
        self.limit = 0
        self.user: deque[Any] = deque()
        self.system: deque[Any] | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.room: deque[asyncio.Future[bool]] | None = None  # True when a turn comes, False when it is too late
        self.closed: str | None = None
        self.high_water = 0
        self.dropped = 0
        self.on_drop = on_drop
        self._set_limit()

    # --- writing

    def put(self, message: object) -> None:
        """Take a message now, or raise `MailboxFull` or `ActorStopped` with it."""
        if len(self.user) < self.limit:
            self.user.append(message)
        else:
            self._put_carefully(message)
        if self.waiter is not None:
            self.wake()

    @property
    def waits_for_room(self) -> bool:
        """Whether `put_wait` waits when the lane is full, rather than refusing or dropping."""
        return self.spec.overflow in (Overflow.BLOCK, Overflow.COALESCE)

    async def put_wait(self, message: object, deadline: float | None = None) -> None:
        """Take a message, waiting for room under `block` and `coalesce`; first come, first served.

        Raises `MailboxFull` when the loop's time reaches `deadline`. Cancelled, it has put nothing.
        """
        if self.free <= 0 and self.closed is None and self._must_wait(message):
            await self._wait_for_room(message, deadline)
        self.put(message)
        if self.room:
            self.make_room()  # a turn that ended in a twin's place left its own free

    def put_system(self, message: object) -> None:
        """Take a system message; never refused while the actor lives."""
        if self.system is None:
            self.system = deque()
        self.system.append(message)
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def free(self) -> int:
        """How many messages could be put now."""
        return self.capacity - len(self.user) - self.reserved

    def _must_wait(self, message: object) -> bool:
        return self.waits_for_room and (self.spec.key is None or self._twin(message) is None)

    def _put_carefully(self, message: object) -> None:
        if self.closed is not None:
            raise ActorStopped(self.path, message, self.closed)
        overflow = self.spec.overflow
        if overflow is Overflow.COALESCE and (twin := self._twin(message)) is not None:
            self._drop(self.user[twin], "coalesce")
            self.user[twin] = message
        elif self.free > 0:
            self.user.append(message)
        elif overflow is Overflow.DROP_OLDEST:
            self._drop(self.user.popleft(), "drop_oldest")
            self.user.append(message)
        elif overflow is Overflow.DROP_NEWEST:
            self._drop(message, "drop_newest")
        else:
            raise MailboxFull(self.path, self.capacity, message)

    def _twin(self, message: object) -> int | None:
        key = self._key(message)
        return next((i for i, queued in enumerate(self.user) if self._key(queued) == key), None)

    def _key(self, message: object) -> object:
        assert self.spec.key is not None
        return self.spec.key(message.message if isinstance(message, Ask) else message)

    def _drop(self, message: object, why: str) -> None:
        self.dropped += 1
        self.on_drop(message, why)

    async def _wait_for_room(self, message: object, deadline: float | None) -> None:
        if self.room is None:
            self.room = deque()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self.room.append(turn)
        timer = None if deadline is None else loop.call_at(deadline, _too_late, turn)
        try:
            in_time = await turn
        except asyncio.CancelledError:
            self._leave_line(turn)
            self.make_room()  # had its turn come, it is the next one's now
            raise
        finally:
            if timer is not None:
                timer.cancel()
        self._leave_line(turn)
        if not in_time:
            raise MailboxFull(self.path, self.capacity, message)

    def _leave_line(self, turn: asyncio.Future[bool]) -> None:
        """A place is reserved for those whose turn has come, and for nobody else."""
        assert self.room is not None
        if not turn.cancelled() and turn.result():
            self.reserved -= 1
            self._set_limit()
        elif turn in self.room:
            self.room.remove(turn)

    def _set_limit(self) -> None:
        """What may be appended below without a second look; a coalescing lane always looks for a twin."""
        closed = self.closed is not None or self.spec.overflow is Overflow.COALESCE
        self.limit = 0 if closed else self.capacity - self.reserved

    # --- reading

    def make_room(self) -> None:
        """Give turns to those who wait for room, as many as there is room for; to all when the mailbox has closed."""
        while self.room and (self.free > 0 or self.closed is not None):
            turn = self.room.popleft()
            if not turn.done():  # else its sender has given up, and is about to find out
                turn.set_result(True)
                self.reserved += 1
        self._set_limit()

    def wait(self) -> asyncio.Future[None]:
        """Return a future that is done when either lane may have something. One reader only, which has found both empty."""
        waiter = self.waiter = asyncio.get_running_loop().create_future()
        return waiter

    def close(self, why: str) -> None:
        """Take no more user messages; those who wait for room are refused. What is queued stays."""
        if self.closed is None:
            self.closed = why
            self.make_room()

    def open(self) -> None:
        """Take messages again: the next incarnation may come."""
        self.closed = None
        self._set_limit()

    def clear(self) -> list[Any]:
        """Empty the user lane and return what was in it."""
        messages = list(self.user)
        self.user.clear()
        self.make_room()
        return messages


def _too_late(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
