"""A scenario's hosts as a fleet: the production configuration with the throw-away servers' addresses in place of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from forebay.config import Config
from forebay.config.kinds import Section
from forebay.config.plain import plain_of
from forebay.config.schema import TopicConfig
from forebay.scenarios.fleet import Fleet, Services
from forebay.scenarios.real.monitor_lines import Taken
from forebay.scenarios.real.redis_place import RedisPlace
from forebay.scenarios.real.site import Site
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.servers.ports import HOST

HANDLERS: Final = "forebay.scenarios.real.handlers"
_OWN: Final = ("data", "log", "coordination", "queues")
"""What a fleet gives its members itself."""


def redis_urls(config: Config) -> list[str]:
    """The Redis servers of a topology, by their URLs: queues of one URL share one."""
    return list(dict.fromkeys(queue.url.text for queue in config.queues.values()))


def places_of(
    scenario: Scenario, site: Site, take: Callable[[Taken], None], lose: Callable[[], None]
) -> dict[str, RedisPlace]:
    """Where each queue is; the first URL of the topology gets the Redis with a replica."""
    servers = zip(redis_urls(scenario.topology), site.primaries(), strict=False)
    by_url = {url: RedisPlace(*pair, take, lose) for url, pair in servers}
    return {name: by_url[queue.url.text] for name, queue in scenario.topology.queues.items()}


def fleet_of(scenario: Scenario, site: Site, places: Mapping[str, RedisPlace], folder: Path, downstream: Path) -> Fleet:
    """The fleet, not started, with the queues at their `places`."""
    queues = {name: place.server.port for name, place in places.items()}
    services = Services(site.kafka.url, site.consul.port, queues)
    return Fleet(
        folder,
        services,
        settings_of(scenario.topology),
        {host: _own_way(site, host) for host in scenario.hosts},
        environ={"DOWNSTREAM": str(downstream)},
        options=["--verbose"],  # checks and sightings need first starts and orderly ends too
    )


def _own_way(site: Site, host: str) -> Mapping[str, Any]:
    """The host's own way to the brokers, if it has one."""
    brokers = ",".join(f"{HOST}:{way.port}" for way in site.kafka_ways.get(host, ()))
    return {"log": {"url": f"kafka://{brokers}"}} if brokers else {}


def settings_of(config: Config) -> Mapping[str, Any]:
    """What all members share. Gate and console are there in any case, on free ports: without them nobody could look."""
    plain: Any = plain_of(Section(Config), config, defaults=False)
    shared = {name: value for name, value in plain.items() if name not in _OWN}
    shared["topics"] = [plain_of(Section(TopicConfig), topic, defaults=False) for topic in config.topics]
    for name in ("gate", "console"):
        shared[name] = {**(plain.get(name) or {}), "port": 0}
    if config.workers is not None:
        shared["workers"] = {**plain.get("workers", {}), "handlers": [HANDLERS]}
    return shared
