"""The gates that a client knows: whom to ask next, and a probe for each that does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random

import anyio
from attrs import frozen

from forebay.client.address import Address
from forebay.client.answers import described, retry_after, zone_of
from forebay.client.choice import Standing, choose
from forebay.client.connection import Answer, Lost, Request
from forebay.client.gate import Gate

log = logging.getLogger("forebay.client")


@frozen
class GateView:
    """One gate as the client sees it now. `error` is its last failure since it served a request."""

    url: str
    up: bool
    zone: str | None
    error: str | None


class Gates:
    """All gates of one client. `patience` is how many seconds a probe may take; `wall` is Unix time in ms."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        zone: str | None,
        patience: float,
        connections: int,
        wall: Callable[[], int],
        random: Random,
    ) -> None:
        self.closed = False
        self._gates = [Gate(address, connections) for address in addresses]
        self._zone, self._patience, self._wall, self._random = zone, patience, wall, random
        self._changed = asyncio.Event()
        self._probes: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Probe all gates; return when the nearest that can be hoped for is up, or all have been tried once."""
        for gate in self._gates:
            self._probe(gate)
        await self._wait(self._settled, anyio.current_time() + self._patience)

    async def close(self) -> None:
        """End the probes and close every connection; posts that wait for an answer lose it."""
        self.closed = True
        self._announce()
        for probe in self._probes:
            probe.cancel()
        if self._probes:
            await asyncio.wait(self._probes)
        for gate in self._gates:
            await gate.close()

    def view(self) -> tuple[GateView, ...]:
        """Every gate as it stands."""
        return tuple(GateView(g.address.url, g.standing.up, g.standing.zone, g.standing.error) for g in self._gates)

    # --- choosing

    async def pick(self, deadline: float) -> Gate | None:
        """The gate to ask next; None if none can be asked before `deadline` (the loop's time), or after `close`."""
        await self._wait(lambda: self._choice() is not None or self._hopeless(deadline), deadline)
        return self._choice()

    def others_up(self, gate: Gate) -> bool:
        """Whether another gate could be asked now."""
        return any(other.standing.up for other in self._gates if other is not gate)

    def _choice(self) -> Gate | None:
        if self.closed:
            return None
        index = choose([g.standing for g in self._gates], [g.load for g in self._gates], self._zone, self._random)
        return None if index is None else self._gates[index]

    def _hopeless(self, deadline: float) -> bool:
        return self.closed or all(gate.standing.rests_until >= deadline for gate in self._gates)

    def _settled(self) -> bool:
        nearest = any(g.standing.up and g.standing.distance(self._zone) < 2 for g in self._gates)
        tried = all(g.standing.up or g.standing.failures for g in self._gates)
        return nearest or tried

    async def _wait(self, true: Callable[[], bool], deadline: float) -> None:
        with anyio.CancelScope(deadline=deadline):
            while not true():
                await self._changed.wait()

    # --- what happened

    def served(self, gate: Gate) -> None:
        """The gate did what it is for."""
        self._set(gate, gate.standing.serving())

    def refused(self, gate: Gate, answer: Answer) -> None:
        """The gate said that it cannot now, or that it does not know."""
        self._failed(gate, described(answer), retry_after(answer, self._wall))

    def lost(self, gate: Gate, error: Lost) -> None:
        """The gate did not answer."""
        self._failed(gate, str(error), 0.0)

    def _failed(self, gate: Gate, why: str, seconds: float) -> None:
        if not gate.standing.up or self.closed:
            return  # another request has said so already
        self._rest(gate, why, seconds)
        log.warning("gate %s is left alone for now: %s", gate.address.url, why)
        self._probe(gate)

    # --- probing

    def _probe(self, gate: Gate) -> None:
        task = asyncio.get_running_loop().create_task(self._until_up(gate), name=f"forebay probe of {gate.address.url}")
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _until_up(self, gate: Gate) -> None:
        while not gate.standing.up:
            await asyncio.sleep(gate.standing.rests_until - anyio.current_time())
            try:
                answer = await gate.probe(Request("GET", "/v1/gate"), self._patience)
            except Lost as error:
                self._rest(gate, str(error), 0.0)
            else:
                self._probed(gate, answer)

    def _probed(self, gate: Gate, answer: Answer) -> None:
        try:
            zone = zone_of(answer)
        except Lost as error:
            self._rest(gate, str(error), retry_after(answer, self._wall))
            return
        if gate.standing.failures:
            log.info("gate %s answers again", gate.address.url)
        self._set(gate, gate.standing.answering(zone))

    def _rest(self, gate: Gate, why: str, seconds: float) -> None:
        self._set(gate, gate.standing.failing(why, anyio.current_time(), self._random, seconds))

    def _set(self, gate: Gate, standing: Standing) -> None:
        if gate.standing != standing:
            gate.standing = standing
            self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
