"""The queue on a real Redis: its working set in sorted sets and hashes, every step one Lua script."""

from forebay.backends.redis.queue import RedisQueue

__all__ = ["RedisQueue"]
