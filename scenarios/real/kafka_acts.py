"""What verbs do to real brokers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from forebay.scenarios.real.scene import RealScene
from forebay.scenarios.servers import KafkaBroker, Proxy

Args = Mapping[str, Any]


async def _kill(brokers: Iterable[KafkaBroker]) -> bool:
    """Whether one of them ran."""
    running = [broker for broker in brokers if broker.process is not None]
    for broker in running:
        await broker.kill()
    return bool(running)


async def _stop(brokers: Iterable[KafkaBroker]) -> bool:
    """TERM, one after the other; one that cannot hand over in time is killed. Whether one of them ran."""
    running = [broker for broker in brokers if broker.process is not None]
    for broker in running:
        await broker.stop()
    return bool(running)


async def _start(brokers: Iterable[KafkaBroker]) -> None:
    """They take their time, as in the field; the healing waits for them."""
    for broker in brokers:
        await broker.launch()


def _one(scene: RealScene, args: Args) -> list[KafkaBroker]:
    return [scene.site.kafka.brokers[args["broker"]]]


def _zone(scene: RealScene, args: Args) -> list[KafkaBroker]:
    return scene.site.kafka.rack(args["zone"])


def _all(scene: RealScene) -> list[KafkaBroker]:
    return list(scene.site.kafka.brokers.values())


async def kill_broker(scene: RealScene, args: Args) -> bool:
    """KILL."""
    return await _kill(_one(scene, args))


async def stop_broker(scene: RealScene, args: Args) -> bool:
    """TERM."""
    return await _stop(_one(scene, args))


async def start_broker(scene: RealScene, args: Args) -> None:
    """With its data."""
    await _start(_one(scene, args))


async def kill_zone(scene: RealScene, args: Args) -> bool:
    """KILL."""
    return await _kill(_zone(scene, args))


async def stop_zone(scene: RealScene, args: Args) -> bool:
    """TERM."""
    return await _stop(_zone(scene, args))


async def start_zone(scene: RealScene, args: Args) -> None:
    """With their data."""
    await _start(_zone(scene, args))


async def kill_brokers(scene: RealScene, _: Args) -> bool:
    """KILL."""
    return await _kill(_all(scene))


async def stop_brokers(scene: RealScene, _: Args) -> bool:
    """TERM."""
    return await _stop(_all(scene))


async def start_brokers(scene: RealScene, _: Args) -> None:
    """With their data."""
    await _start(_all(scene))


def cut_kafka(scene: RealScene, args: Args) -> None:
    """Silence: nothing gets through, and connections stay open."""
    for way in scene.site.kafka_ways[args["host"]]:
        way.freeze()


def mend_kafka(scene: RealScene, args: Args) -> None:
    """Open connections go on."""
    for way in scene.site.kafka_ways[args["host"]]:
        way.heal()


def slow_kafka(scene: RealScene, args: Args) -> bool:
    """One way, for every member."""
    for way in _ways(scene):
        way.delay = args["by"]
    return bool(args["by"])


def quicken_kafka(scene: RealScene, _: Args) -> None:
    """As it is without a fault."""
    for way in _ways(scene):
        way.delay = 0.0


def _ways(scene: RealScene) -> Iterator[Proxy]:
    for ways in scene.site.kafka_ways.values():
        yield from ways
