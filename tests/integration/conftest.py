"""What several files here have in common."""

import pytest_asyncio
from support.services import require

from forebay.scenarios.servers import Servers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis(tmp_path_factory):
    """Two primaries and a replica of the first, for one file alone: its tests kill, fill and replace them."""
    async with Servers(tmp_path_factory.mktemp("redis"), {"redis": require("redis")}) as servers:
        yield servers.redis
