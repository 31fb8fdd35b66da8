"""A simulated Redis server: the queue's own Lua scripts on data in this process, with failures to order.

`RedisQueue` is as it is in production; only what carries its commands is replaced, through its parameter `make`. Verbs are
for those outside: a test, a scenario. Times are in seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Final, cast

from attrs import frozen
from redis.asyncio import Redis

from forebay.actors.relay.headroom import STOP
from forebay.backends.ports import Clock, Counts
from forebay.backends.redis.codec import prefix
from forebay.backends.redis.scripts import COUNTS, SCRIPTS
from forebay.scenarios.simulation.lease_use import LeaseUse, lease_uses, topic_of
from forebay.scenarios.simulation.network import NOBODY, Reach
from forebay.scenarios.simulation.redis_client import SimClient, SimConnection
from forebay.scenarios.simulation.redis_commands import COMMANDS, Reply
from forebay.scenarios.simulation.redis_data import Data, Refused
from forebay.scenarios.simulation.redis_lua import Lua
from forebay.scenarios.simulation.spells import Spells, is_look

LATENCY: Final = 0.0005
"""Seconds that a message takes one way, if nothing else is said."""
OUT_OF_MEMORY: Final = "OOM command not allowed when used memory > 'maxmemory'."
LONGEST_WORD: Final = 2**29
_NAMES: Final[Mapping[bytes, str]] = {script.sha.encode(): script.name for script in SCRIPTS}
ITEMS: Final = 13
"""Arguments of the script `write` before the first item's id."""
WORDS: Final = 7
"""Arguments of each item."""
_REFUSALS: Final = (b"stale", b"missing", b"mismatch")


def _nothing() -> None:
    """Nobody takes note."""


@frozen
class RangeWritten:
    """A range that the queue took: by whom, under which token, into which memory (`epoch`).

    A mark that was moved back is an empty one, and so is a fence that was planted (of partition -1). `spell` numbers the
    times in which the free memory was below what stops a relay, from 1; 0: it was not, or the host could not know it yet.
    """

    at: float
    host: str
    topic: str
    token: tuple[int, int]
    epoch: str
    partition: int
    start: int
    to: int
    spell: int = 0


class SimRedis(Reach):
    """One server by name. `random` is drawn from only while there is jitter. Its time of day is the clock's.

    `written` are the ranges that the relays have written, `leases` what workers were given and said, in order; `refused`
    counts what the scripts refused, by script and reason (`stale`, `missing`, `mismatch`; `memory`, of any script, for a
    full one); `losses` are the times at which it lost data; `unanswered` the calls that were lost, or their replies: when,
    and whose; `asked` counts by host what it was asked: commands, and connections.
    """

    def __init__(self, name: str, clock: Clock, random: Random) -> None:
        super().__init__()
        self.name = name
        self.up = True
        self.max_memory = 0
        self.written: list[RangeWritten] = []
        self.leases: list[LeaseUse] = []
        self.refused: Counter[tuple[str, str]] = Counter()
        self.losses: list[float] = []
        self.asked: Counter[str] = Counter()
        self._clock = clock
        self._random = random
        self._delay, self._jitter = LATENCY, 0.0
        self._data = Data()
        self._lua = Lua(self._call)
        self._counts = self._lua.compiled(COUNTS.text.encode())
        self._scripts: dict[bytes, Any] = {}
        self._connections: dict[SimConnection, bool] = {}  # whether it has subscribed
        self._slow: dict[str, float] = {}
        self._life = 1
        self._replies_to_drop = 0
        self.unanswered: list[tuple[float, str]] = []
        self._refusing = 0.0
        self._spells = Spells()
        self._full = self._wrote = False

    def client(self, host: str) -> Callable[[str], Redis]:
        """Return what makes a client on a host, for `RedisQueue(make=...)`."""
        return lambda _url: cast("Redis", SimClient(self, host))

    # --- looks, which no client notices

    @property
    def used_memory(self) -> int:
        """Bytes in use, about."""
        return self._data.used

    def counts(self, topic: str) -> Counts:
        """Jobs of a topic by state."""
        return Counts(*self._lua.run(self._counts, (prefix(topic).encode(),), (b"",)))

    def marks(self, topic: str) -> Mapping[int, int]:
        """The next offset to be written, by the queue's number of the partition, of every partition ever written."""
        words = self._call((b"HGETALL", f"{prefix(topic)}marks".encode()))
        return {int(partition): int(mark) for partition, mark in zip(words[::2], words[1::2], strict=True)}

    # --- verbs

    def kill(self) -> bool:
        """End the process. What it had answered is on its disk; clients are disconnected and refused until `start`. False
        where it was down.
        """
        was_up, self.up = self.up, False
        self._life += 1
        self._disconnect_all()
        return was_up

    def start(self) -> bool:
        """Begin to serve again, with what was on the disk. Clients send the scripts anew. False where it was up."""
        if self.up:
            return False
        self.up = True
        self._scripts.clear()
        return True

    def wipe(self) -> bool:
        """Put an empty server in its place at once: no data, no scripts, no connections. Return whether it held anything."""
        self.kill()
        held = self.flush()
        self.start()
        return held

    def flush(self) -> bool:
        """Remove all data, as FLUSHALL does; connections and scripts stay. Return whether there was anything."""
        held = bool(self._data.keys)
        self._data.clear()
        self.losses.append(asyncio.get_running_loop().time())
        return held

    def failover(self, lost_calls: int) -> int:
        """Let a replica take over that lacks the newest `lost_calls` calls that changed something, as far as they are
        remembered. Return how many were lost. Clients are disconnected.
        """
        self.kill()
        lost = self._data.take_back(lost_calls)
        self.losses += [asyncio.get_running_loop().time()] * (lost > 0)
        self.start()
        return lost

    def limit_memory(self, limit: int) -> None:
        """Set `maxmemory`, in bytes; 0 is no limit. The policy is `noeviction`."""
        self.max_memory = limit

    def latency(self, seconds: float = LATENCY, jitter: float = 0.0) -> None:
        """Let every message take so long one way, and up to `jitter` longer."""
        self._delay, self._jitter = seconds, jitter

    def slow(self, host: str, seconds: float) -> None:
        """Let every message from and to one host take so much longer; 0 ends that. What is under way stays late."""
        self._slow[host] = seconds

    def drop_replies(self, count: int) -> None:
        """Let the next calls that change something take effect and remain unanswered."""
        self._replies_to_drop = count

    def refuse_jobs(self, share: float) -> None:
        """Answer a write with an error if one of its jobs is of this share (0 to 1), always the same ones."""
        self._refusing = share

    def hang_up(self, host: str) -> None:
        """Forget the connections of a host whose process has ended."""
        for connection in [one for one in self._connections if one.host == host]:
            self.forget(connection)

    # --- messages; for the clients

    def ask_to_connect(self, connection: SimConnection) -> None:
        """A client knocks."""
        self._travel(connection.host, partial(self._knocked, connection), partial(self._unanswer, connection))

    def _knocked(self, connection: SimConnection) -> None:
        self.asked[connection.host] += 1
        if not self.up:
            self._travel(connection.host, connection.hang_up)
            return
        self._connections[connection] = False
        connection.life = self._life
        self._reply(connection, b"")

    def receive(self, connection: SimConnection, words: Sequence[bytes]) -> None:
        """A client has sent a command. It is carried out also when the client has closed the connection since, or died."""
        if is_look(words):
            self._spells.asked(connection, asyncio.get_running_loop().time())
        self._travel(connection.host, partial(self._arrived, connection, words), partial(self._unanswer, connection))

    def forget(self, connection: SimConnection) -> None:
        """A client has closed a connection."""
        self._connections.pop(connection, None)

    def _arrived(self, connection: SimConnection, words: Sequence[bytes]) -> None:
        self.asked[connection.host] += 1
        if not self.up or connection.life != self._life:
            return
        reply = self._executed(connection, words)
        changed = self._data.changed
        self._data.commit()
        if changed and self._replies_to_drop > 0:
            self._replies_to_drop -= 1
            self._unanswer(connection)
            return
        if connection in self._connections:
            heard = partial(self._spells.told, connection, self._spells.now) if is_look(words) else _nothing
            self._reply(connection, reply, heard)

    def _reply(self, connection: SimConnection, reply: Reply | Refused, heard: Callable[[], object] = _nothing) -> None:
        self._send(connection, reply, heard, partial(self._unanswer, connection))

    def _send(
        self, connection: SimConnection, message: Reply | Refused, heard: Callable[[], object], lost: Callable[[], object]
    ) -> None:
        def arrived() -> None:
            connection.deliver()
            heard()

        def gone() -> None:
            connection.coming.popleft()
            lost()

        connection.coming.append(message)
        self._travel(connection.host, arrived, gone)

    def _travel(self, host: str, arrive: Callable[[], object], lost: Callable[[], object] = _nothing) -> None:
        delay = self._delay + self._slow.get(host, 0.0) + (self._random.random() * self._jitter if self._jitter else 0.0)

        def land() -> None:
            if host in self._cut:
                lost()
            else:
                arrive()

        asyncio.get_running_loop().call_later(delay, land, context=NOBODY)

    def _unanswer(self, connection: SimConnection) -> None:
        self.unanswered.append((asyncio.get_running_loop().time(), connection.host))

    def _disconnect_all(self) -> None:
        for connection in list(self._connections):
            connection.hang_up()
        self._connections.clear()

    # --- calls

    def _executed(self, connection: SimConnection, words: Sequence[bytes]) -> Reply | Refused:
        self._full = 0 < self.max_memory < self._data.used
        self._spells.see(full=0 < self.max_memory * (1.0 - STOP) < self._data.used)
        self._wrote = False
        try:
            return self._serve(connection, words)
        except Refused as refused:
            return refused

    def _serve(self, connection: SimConnection, words: Sequence[bytes]) -> Reply:
        name = words[0]
        if name in (b"EVALSHA", b"EVAL"):
            return self._evaluate(connection.host, words)
        if name == b"SUBSCRIBE":
            if connection in self._connections:
                self._connections[connection] = True
            return [b"subscribe", words[1], 1]
        if name == b"PING":
            return [b"pong", b""] if self._connections.get(connection) else b"PONG"
        return self._load(words[2]) if name == b"SCRIPT" else self._call(words)

    def _load(self, text: bytes) -> bytes:
        sha = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
        if sha not in self._scripts:
            self._scripts[sha] = self._lua.compiled(text)
        return sha

    def _info(self, section: bytes) -> bytes:
        if section == b"memory":
            text = f"used_memory:{self._data.used}\r\nmaxmemory:{self.max_memory}\r\nmaxmemory_policy:noeviction\r\n"
        elif section == b"cluster":
            text = "cluster_enabled:0\r\n"
        else:
            raise Refused(f"ERR the simulated Redis has no INFO {section.decode()}")
        return text.encode()

    def _evaluate(self, host: str, words: Sequence[bytes]) -> Reply:
        sha = self._load(words[1]) if words[0] == b"EVAL" else words[1]
        script = self._scripts.get(sha)
        if script is None:
            raise Refused("NOSCRIPT No matching script. Please use EVAL.")
        keys = 3 + int(words[2])
        name = _NAMES.get(sha, sha.decode())
        if self._refusing and name == "write":
            self._refuse(words[keys + ITEMS :: WORDS])
        reply = self._lua.run(script, words[3:keys], words[keys:])
        self._note(host, name, words[3:], reply)
        return reply

    def _refuse(self, ids: Sequence[bytes]) -> None:
        for id_ in ids:
            if hashlib.sha1(id_, usedforsecurity=False).digest()[0] < self._refusing * 256:
                raise Refused("ERR this job is refused, as the scenario says")

    def _call(self, words: Sequence[bytes]) -> Reply:
        """One command, from a client or a script."""
        name = words[0]
        if name == b"TIME":
            wall = self._clock.wall()
            return [b"%d" % (wall // 1000), b"%d" % (wall % 1000 * 1000)]
        if name == b"PUBLISH":
            return self._publish(words[1], words[2])
        if name == b"INFO":
            return self._info(words[1])
        if name == b"CONFIG" and words[2] == b"proto-max-bulk-len":
            return [words[2], b"%d" % LONGEST_WORD]
        return self._run(name, words)

    def _run(self, name: bytes, words: Sequence[bytes]) -> Reply:
        """A command on data. While memory is full, Redis refuses one that may need more as long as the call has written
        nothing: the call then either frees first or is not begun.
        """
        command = COMMANDS.get(name)
        if command is None:
            raise Refused(f"ERR unknown command '{name.decode()}': the simulated Redis has what queues use here")
        if command.fills and self._full and not self._wrote:
            self.refused["", "memory"] += 1
            raise Refused(OUT_OF_MEMORY)
        self._wrote = self._wrote or command.writes
        try:
            return command.run(self._data, words[1:])
        except (ValueError, IndexError) as error:
            raise Refused(f"ERR {name.decode()}: {error}") from error

    def _publish(self, channel: bytes, text: bytes) -> int:
        listeners = [connection for connection, subscribed in self._connections.items() if subscribed]
        for connection in listeners:
            self._send(connection, [b"message", channel, text], _nothing, _nothing)  # nobody waits for it
        return len(listeners)

    def _note(self, host: str, script: str, words: Sequence[bytes], reply: Reply) -> None:
        if not isinstance(reply, list) or not reply:
            return
        at = asyncio.get_running_loop().time()
        self.leases += lease_uses(at, host, script, words, reply)
        if reply[0] in _REFUSALS:
            self.refused[script, reply[0].decode()] += 1
        elif script in ("write", "rewind", "plant"):
            _, generation, index, epoch, partition, start, to, *_ = (word.decode() for word in (*words[1:8], b"", b"", b""))
            if script == "plant":
                epoch, partition, start = str(reply[1], "ascii"), "-1", "0"
            to = to if script == "write" else start
            topic, token = topic_of(words[0]), (int(generation), int(index))
            spell = self._spells.known(host, at)
            self.written.append(RangeWritten(at, host, topic, token, epoch, int(partition), int(start), int(to), spell))
