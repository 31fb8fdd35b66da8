"""The shipped Lua scripts, run by Lua 5.1 as Redis does it: `redis.call`, KEYS and ARGV, and answers turned into Redis'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from forebay.scenarios.simulation.redis_commands import Reply
from forebay.scenarios.simulation.redis_data import Refused

try:
    from lupa import lua51
except ImportError as error:
    raise ImportError(
        "the simulated Redis needs the package lupa for the queue's Lua scripts: pip install 'forebay[simulation]'"
    ) from error


class Lua:
    """An interpreter whose scripts reach the data through `call`, which gets a command's words and may raise `Refused`."""

    def __init__(self, call: Callable[[Sequence[bytes]], Reply]) -> None:
        self._call = call
        self._runtime = lua51.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
        self._globals = self._runtime.globals()
        self._globals[b"redis"] = self._runtime.table_from({b"call": self._redis_call})

    def compiled(self, text: bytes) -> Any:
        """Return a script, ready to run. Raises `Refused` for what is no Lua."""
        try:
            return self._runtime.compile(text)
        except lua51.LuaSyntaxError as error:
            raise Refused(f"ERR Error compiling script: {error}") from error

    def run(self, script: Any, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Reply:
        """Run a script from its beginning and return its answer. Raises `Refused`: what was done until then stays done."""
        self._globals[b"KEYS"] = self._runtime.table_from(keys)
        self._globals[b"ARGV"] = self._runtime.table_from(arguments)
        try:
            return _answer(script())
        except lua51.LuaError as error:
            raise Refused(f"ERR user_script: {error}") from error

    def _redis_call(self, *words: Any) -> Any:
        return self._value(self._call([_word(word) for word in words]))

    def _value(self, reply: Reply) -> Any:
        if reply is None:
            return False
        if isinstance(reply, list):
            return self._runtime.table_from([self._value(one) for one in reply])
        return reply


def _word(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("ERR Lua redis lib command arguments must be strings or integers")
    return b"%d" % value if isinstance(value, int) else b"%.17g" % value


def _answer(value: Any) -> Reply:
    """Lua to Redis: a number loses its fraction, false is nothing, a table ends at its first nil."""
    if value is None or value is False:
        return None
    if isinstance(value, bool | int | float):
        return int(value)
    if isinstance(value, bytes):
        return value
    found: list[Reply] = []
    while (one := value[len(found) + 1]) is not None:
        found.append(_answer(one))
    return found
