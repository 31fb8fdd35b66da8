"""Reaching the first broker (G5)."""

import asyncio
import struct

import pytest

from forebay.backends.errors import Unavailable
from forebay.backends.kafka.cluster import Cluster

VERSIONS = struct.pack(">hi", 0, 1) + struct.pack(">hhh", 3, 0, 1)
"""The answer to a question for versions: no error, and metadata in versions 0 and 1."""


class Silent:
    """A broker that tells its versions and answers nothing else."""

    def __init__(self):
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader, writer):
        first = True
        while header := await reader.read(4):
            (size,) = struct.unpack(">i", header)
            request = await reader.readexactly(size)
            if first:
                answer = request[4:8] + VERSIONS  # the correlation id comes back
                writer.write(struct.pack(">i", len(answer)) + answer)
                first = False
            else:
                self.asked.set()
        self.left.set()
        writer.close()


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_first_broker_that_does_not_answer_leaves_no_connection(how):
    """Nothing may be left to the garbage collector: what warns of an unclosed connection fails this test."""
    broker = Silent()
    async with await asyncio.start_server(broker.serve, "127.0.0.1") as server:
        cluster = Cluster(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", 30.0 if how == "cancelled" else 0.5)
        start = asyncio.get_running_loop().create_task(cluster.start())
        await broker.asked.wait()
        if how == "cancelled":
            start.cancel()
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else Unavailable):
            await start
        async with asyncio.timeout(10):
            await broker.left.wait()
