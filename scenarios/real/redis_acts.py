"""What verbs do to a queue's real Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forebay.scenarios.real.redis_place import RedisPlace
from forebay.scenarios.real.scene import RealScene
from forebay.scenarios.servers import Losses, Proxy

Args = Mapping[str, Any]


def _place(scene: RealScene, args: Args) -> RedisPlace:
    return scene.places[args["queue"]]


def _ways(scene: RealScene, args: Args) -> Iterator[Proxy]:
    """Of all queues that share the server; of one host, where one is named."""
    names = [name for name, place in scene.places.items() if place is _place(scene, args)]
    hosts = [args["host"]] if "host" in args else list(scene.fleet.ways)
    for host in hosts:
        for name in names:
            yield scene.fleet.ways[host].redis[name]


async def kill_redis(scene: RealScene, args: Args) -> bool:
    """KILL."""
    return await _place(scene, args).kill()


async def start_redis(scene: RealScene, args: Args) -> None:
    """With its data."""
    await _place(scene, args).start()


async def wipe_redis(scene: RealScene, args: Args) -> bool:
    """An empty one on the same port, also where one was down."""
    return await _place(scene, args).wipe()


async def flush_redis(scene: RealScene, args: Args) -> bool:
    """FLUSHALL."""
    return await _place(scene, args).flush()


async def fail_over(scene: RealScene, args: Args) -> bool:
    """To the replica, which has stood still meanwhile."""
    return await _place(scene, args).fail_over(args["lost"])


async def limit_memory(scene: RealScene, args: Args) -> bool:
    """So much for data."""
    return await _place(scene, args).limit(args["memory"])


async def unlimit_memory(scene: RealScene, args: Args) -> None:
    """No limit."""
    await _place(scene, args).unlimit()


def cut_redis(scene: RealScene, args: Args) -> None:
    """Silence: nothing gets through, and connections stay open."""
    for way in _ways(scene, args):
        way.freeze()


def mend_redis(scene: RealScene, args: Args) -> None:
    """Open connections go on."""
    for way in _ways(scene, args):
        way.heal()


def slow_redis(scene: RealScene, args: Args) -> bool:
    """One way, for every member."""
    for way in _ways(scene, args):
        way.delay = args["by"]
    return bool(args["by"])


def quicken_redis(scene: RealScene, args: Args) -> None:
    """As it is without a fault."""
    for way in _ways(scene, args):
        way.delay = 0.0


def drop_replies(scene: RealScene, args: Args) -> bool:
    """Of all members together; each is then waited for in vain on its connection."""
    losses = Losses(args["replies"])
    for way in _ways(scene, args):
        way.losses = losses
    return bool(args["replies"])
