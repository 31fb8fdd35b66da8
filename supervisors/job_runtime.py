"""The whole job queue of one process, from a configuration: stores, tree, and the doors an embedding program uses."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from random import Random
from typing import Any, Final

from attrs import frozen

from forebay.actors.exits import ActorError
from forebay.actors.gate.messages import Append, WhereBound
from forebay.actors.gate.records import record_for
from forebay.backends.clock import SystemClock
from forebay.backends.ports import Acks, Clock, Coordination, Log, Queue
from forebay.config import Config, ConfigError, Problem, from_mapping, load
from forebay.jobs import InvalidCode, InvalidJob, Registry, default_registry, new_ulid
from forebay.jobs.writing import write_post
from forebay.supervisors.adapters import ADAPTERS, Adapters
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import SupervisorSpec
from forebay.supervisors.stores import Stores
from forebay.supervisors.streams import seeded_streams
from forebay.supervisors.topology import CONSOLE, GATE, PRODUCER, Parts, topology

CONTROL_SOCKET: Final = "control.sock"


class HandlersNotLoaded(ActorError):
    """A module named under `workers.handlers` could not be imported."""


@frozen
class Enqueued:
    """Where an accepted job is in the log."""

    id: str
    topic: str
    partition: int
    offset: int


class JobRuntime(Runtime):
    """A runtime with the tree of `supervisors.topology`; made by `Runtime.from_config`."""

    def __init__(
        self,
        config: Config,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        streams: Callable[[str], Random] | None = None,
        adapters: Adapters = ADAPTERS,
        sockets: bool = True,
    ) -> None:
        """As `Runtime.from_config`. `streams` are used instead of those of a `seed`; `adapters` make the stores; without
        `sockets` nothing listens, neither on TCP nor in the data folder.
        """
        self.config = config
        self.registry = default_registry if registry is None else registry
        load_handlers(config)
        clock = clock or SystemClock()
        if streams is None:
            streams = seeded_streams(int.from_bytes(os.urandom(8), "big") if seed is None else seed)
        self._stores = Stores(config, clock, streams("stores"), adapters)
        self._ids = streams("enqueue")
        tree = topology(
            Parts(
                config=config,
                stores=self._stores,
                registry=self.registry,
                instance=new_ulid(clock.wall(), streams("instance")),
                control_socket=self.control_socket,
                tree=self.tree,
                events=lambda: self.events,
                sockets=sockets,
            )
        )
        _check_stop(tree, config)
        super().__init__(tree, deadline=config.shutdown.deadline, clock=clock, streams=streams, resources=[self._stores])

    # --- posting

    async def enqueue(
        self,
        type_: str,
        args: object = None,
        *,
        raw: bytes | None = None,
        topic: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in the HTTP interface
        dedup: str | bool | None = None,
        delay: float = 0.0,
        key: str | None = None,
        shadow: bool = False,
        acks: Acks | None = None,
        timeout: float = 10.0,
    ) -> Enqueued:
        """Put a job into the log; return once it is durable there, as `POST /v1/jobs` does.

        `args` is any JSON value; `raw` is JSON text in its stead, kept byte for byte. A `shadow` is read and counted
        by the relay, and no worker gets it (row R9). Raises `InvalidJob`, `UnknownTopic`, `AskTimeout` after `timeout`
        seconds (the job may or may not be in), and the log's `BackendError`.
        """
        _, post = write_post(type_, args, raw=raw, id=id, dedup=dedup, delay=delay, key=key, shadow=shadow)
        if self.config.workers is not None and self.registry.lookup(post.type) is None:
            raise InvalidJob(InvalidCode.WRONG, f"no handler of job type {post.type!r} is loaded here", "type")
        now = self.system.clock.wall()
        record = record_for(
            post, topic=self._topic(topic), topics=self.config.topics, now=now, new_id=lambda: new_ulid(now, self._ids)
        )
        choice = Acks(record.acks) if acks is None else acks
        offsets = await self.ref(PRODUCER).ask(Append((record.record,), choice), timeout)
        return Enqueued(record.id, record.record.topic, record.record.partition, offsets[0])

    def _topic(self, topic: str | None) -> str:
        return self.config.topics[0].name if topic is None else topic

    # --- where things are

    @property
    def control_socket(self) -> Path:
        """The Unix socket through which the command line reaches this runtime."""
        return self.config.data / CONTROL_SOCKET

    async def gate_url(self) -> str | None:
        """The gate's address while it runs; None if the configuration has no gate."""
        return None if self.config.gate is None else await self._url(GATE)

    async def console_url(self) -> str | None:
        """The console's address while it runs; None if the configuration has no console on TCP."""
        return None if self.config.console is None else await self._url(CONSOLE)

    async def _url(self, path: str) -> str:
        url: str = await self.ref(path).ask(WhereBound(), 5.0)
        return url

    @property
    def log(self) -> Log:
        """The log."""
        return self._stores.log

    @property
    def coordination(self) -> Coordination:
        """Locks and live limits."""
        return self._stores.coordination

    def queue(self, topic: str) -> Queue:
        """Return the queue that a topic is relayed to. Raises `KeyError`."""
        return self._stores.queue(topic)


def read_config(source: Config | Path | str | Mapping[str, Any], environ: Mapping[str, str] | None) -> Config:
    """Return the configuration that `source` is or names. Raises `ConfigError`."""
    if isinstance(source, Config):
        return source
    environ = os.environ if environ is None else environ
    if isinstance(source, Mapping):
        return from_mapping(source, environ=environ)
    return load(Path(source), environ)


def load_handlers(config: Config) -> None:
    """Import the modules that register handlers. Raises `HandlersNotLoaded`."""
    for name in () if config.workers is None else config.workers.handlers:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise HandlersNotLoaded(
                f"workers.handlers: cannot import {name!r}: {error}; run where it can be imported from, or install it"
            ) from error


def _check_stop(tree: SupervisorSpec, config: Config) -> None:
    """Raise `ConfigError` if an orderly stop of `tree` may take longer than the configuration gives it (rule S5)."""
    deadline, needed = config.shutdown.deadline, tree.stop_time
    if needed <= deadline:
        return
    found = f"{deadline:g}s, and an orderly stop may take {needed:g} s"
    want = f"write {ceil(needed)}s or more"
    if config.workers is not None:
        found += f", {config.workers.drain:g} s of them for workers.drain"
        want += ", or shorten workers.drain"
    raise ConfigError([Problem("the configuration", None, "shutdown.deadline", found, want)])


__all__ = ["CONTROL_SOCKET", "Enqueued", "HandlersNotLoaded", "InvalidJob", "JobRuntime", "load_handlers"]
