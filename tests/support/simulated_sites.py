"""Sites of the simulated services: each a world of its own, on the virtual loop that runs the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from forebay.scenarios.loop import running_loop
from forebay.scenarios.simulation.consul import SimConsul
from forebay.scenarios.simulation.consul_client import SimCoordination
from forebay.scenarios.simulation.kafka import SimKafka
from forebay.scenarios.simulation.kafka_log import SimLog

HOST = "a"
SIMULATED = "sim"


class SimulatedSite:
    """One service, and a host's adapter on it. Time passes by itself."""

    ttl = 1.0

    def __init__(self, service: Any, adapter: Any) -> None:
        self.service, self.adapter = service, adapter
        self.clock = running_loop().clock

    async def start(self) -> Any:
        self.port = self.adapter(self.service, HOST)
        await self.port.start()
        return self.port

    async def reopen(self) -> Any:
        await self.port.stop()
        return await self.start()

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def simulated_site(service: Any, adapter: Any) -> Any:
    @asynccontextmanager
    async def opened(_: Path) -> AsyncIterator[Any]:
        loop = running_loop()
        site = SimulatedSite(service(loop.clock, loop.streams.stream("service")), adapter)
        try:
            await site.start()
            yield site
        finally:
            await site.port.stop()

    opened.virtual = True
    return opened


SIMULATED_LOGS = {SIMULATED: simulated_site(SimKafka, SimLog)}
SIMULATED_COORDINATIONS = {SIMULATED: simulated_site(SimConsul, SimCoordination)}
