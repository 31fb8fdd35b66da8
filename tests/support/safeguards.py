"""What keeps jobs safe, taken away one by one, as a careless change would: for tests that show that the swarm finds it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from attrs import frozen
from support.planting import Fault

from forebay.actors.relay.headroom import share_of_rate
from forebay.actors.relay.range_writer import RangeWriter
from forebay.actors.relay.settled_marks import SettledMarks
from forebay.actors.work.lease_keeper import LeaseKeeper
from forebay.backends.redis import scripts
from forebay.backends.redis.queue import RedisQueue
from forebay.backends.redis.scripts import Script
from forebay.config.values import Backoff
from forebay.scenarios.simulation import redis as simulated
from forebay.supervisors import topology


@frozen
class Safeguard:
    """One of them by name. While `taken_away()` is entered, production code lacks it, in this process."""

    name: str
    parts: Sequence[Callable[[], AbstractContextManager[None]]]

    @contextmanager
    def taken_away(self) -> Iterator[None]:
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part())
            yield


@contextmanager
def in_lua(script: str, right: str, wrong: str) -> Iterator[None]:
    """In every script that `script` is a part of, `right`, which stands once, becomes `wrong`; with new digests."""
    sound = {name: value for name, value in vars(scripts).items() if isinstance(value, Script)}
    order, names = scripts.SCRIPTS, simulated._NAMES
    part = (scripts._FOLDER / f"{script}.lua").read_text()
    if part.count(right) != 1:
        raise ValueError(f"{right!r} stands {part.count(right)} times in {script}.lua, not once")
    faulty = {name: _faulty(one, part, part.replace(right, wrong)) for name, one in sound.items()}
    if faulty == sound:
        raise ValueError(f"no script has {script}.lua as it is on the disk: was it made faulty before?")
    try:
        for name, one in faulty.items():
            setattr(scripts, name, one)
        by_name = {one.name: one for one in faulty.values()}
        scripts.SCRIPTS = tuple(by_name[one.name] for one in order)
        simulated._NAMES = {one.sha.encode(): one.name for one in faulty.values()}
        yield
    finally:
        for name, one in sound.items():
            setattr(scripts, name, one)
        scripts.SCRIPTS, simulated._NAMES = order, names


def _faulty(script: Script, right: str, wrong: str) -> Script:
    text = script.text.replace(right, wrong)
    return Script(script.name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def in_python(function: Callable[..., object], right: str, wrong: str) -> AbstractContextManager[None]:
    return Fault("safeguard", function, right, wrong).planted()


def lua(script: str, right: str, wrong: str) -> Callable[[], AbstractContextManager[None]]:
    return partial(in_lua, script, right, wrong)


def python(function: Callable[..., object], right: str, wrong: str) -> Callable[[], AbstractContextManager[None]]:
    return partial(in_python, function, right, wrong)


APPEND = "            await self._log_outage.call(partial(self._log.append, (again,), self._acks))\n"
REFUSED = (
    '        except BackendError as refused:\n            why = f"{why}; and the log refuses it: {refused}"\n        else:\n'
)

SAFEGUARDS = (
    Safeguard(
        "fence",
        [
            lua(
                "fence",
                "  local held_generation, held_index = tonumber(fence[2]), tonumber(fence[3])\n",
                "  do return fence[1], nil end\n",
            )
        ],
    ),
    Safeguard(
        "write-and-mark-in-one-script",
        [
            lua("write", "redis.call('HSET', key('marks'), ARGV[5], int(to))\n", ""),
            python(
                RedisQueue.write,
                "    return Written(to, *_fenced(answer, topic, token))",
                "    written = Written(to, *_fenced(answer, topic, token))\n"
                '    await self._connection.command("HSET", codec.prefix(topic) + "marks", partition, to)\n'
                "    return written",
            ),
        ],
    ),
    Safeguard("dedup", [lua("write", "  if known then\n", "  if false then\n")]),
    Safeguard("settled-marks", [python(SettledMarks._restored, "if settled is None:", "if True:")]),
    Safeguard(
        "drain",
        [
            python(topology._workers, "drain=True,  # what the slots said last is in its mailbox", "drain=False,"),
            python(LeaseKeeper.on_stop, "await lease.recorded.wait()", "pass"),
        ],
    ),
    Safeguard("lease-epoch", [lua("end", " and job.epoch == tonumber(ARGV[at + 2])", "")]),
    Safeguard("backoff", [python(Backoff.delay, "return full_jitter(self.base, self.cap, failures, random)", "return 0.0")]),
    Safeguard(
        "memory-coupling",
        [python(share_of_rate, "return min(1.0, max(0.0, (free - STOP) / (FULL_RATE - STOP)))", "return 1.0")],
    ),
    Safeguard(
        "re-enqueue-before-the-mark",
        [
            python(
                RangeWriter._divert,
                f"{APPEND}{REFUSED}            await self._put(wanted, ())\n",
                f"            await self._put(wanted, ())\n{APPEND}{REFUSED}",
            )
        ],
    ),
)
