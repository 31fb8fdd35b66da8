"""A gate as the tree has it, producer and HTTP server, over the embedded log; and ways to talk to it."""

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from urllib.parse import urlsplit

import httpx
from support.flaky import Faults, Flaky

from forebay.actors.gate.app import gate_routes
from forebay.actors.gate.http_server import HttpServer
from forebay.actors.gate.messages import Tcp, WhereBound
from forebay.actors.gate.producer import Producer
from forebay.actors.gate.protocol import HttpLimits
from forebay.actors.process import Limits
from forebay.actors.web import web_app
from forebay.backends.clock import SystemClock
from forebay.backends.ports import TopicSpec, Want
from forebay.backends.sqlite.embedded import open_embedded
from forebay.config import GateConfig, TopicConfig
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Strategy, SupervisorSpec

TOPICS = (TopicConfig(name="jobs", max_record=2 * 2**20), TopicConfig(name="mail", partitions=2, max_record=1024))
PRODUCER = "/gates/producer"
SERVER = "/gates/http_server"
SECONDS = 10.0
ANY_PORT = Tcp("127.0.0.1", 0)


class Gate:
    """A running gate. `faults` are the log's; `log` is the log itself, beside them."""

    def __init__(self, runtime, log, flaky, faults):
        self.runtime, self.log, self.flaky, self.faults = runtime, log, flaky, faults

    async def start(self):
        self.url = await self.runtime.ref(SERVER).ask(WhereBound(), SECONDS)
        self.client = httpx.AsyncClient(base_url=self.url, timeout=SECONDS)

    async def post(self, path, body=b"", **headers):
        """POST bytes as JSON, or under the headers given (`_` is `-`)."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=body, headers={"content-type": "application/json", **given})

    async def connect(self):
        """A bare connection."""
        where = urlsplit(self.url)
        return await asyncio.open_connection(where.hostname, where.port)

    async def records(self, topic="jobs"):
        """Everything that the log holds of a topic, by partition and offset."""
        connection = await self.log.connect(topic)
        found = []
        for partition, extent in sorted((await connection.extents()).items()):
            offset = extent.start
            while offset < extent.end:
                fetched = await connection.fetch({partition: Want(offset, 1000)}, 0)
                found += fetched[partition]
                offset = found[-1].offset + 1
        await connection.close()
        return found

    def appends(self):
        """How many writes the log has seen."""
        return self.flaky.calls.get("append", 0)

    def handled(self):
        """How many appends the producer has taken from its mailbox."""
        return self.runtime.tree().find(PRODUCER).mailbox.handled


def tree(log, *, bind, config, limits, known_types, producer):
    options = {"config": config, "known_types": known_types, "offers": log.offers}

    def app(ctx):
        return web_app(gate_routes(ctx, producer=PRODUCER, topics=TOPICS, **options))

    server = partial(HttpServer, app=app, bind=bind, limits=limits)
    children = (
        ChildSpec("producer", partial(Producer, log=log, apart=False, **producer)),
        ChildSpec("http_server", server, limits=Limits(shutdown=limits.drain + 2.0)),
    )
    gates = SupervisorSpec(Strategy.REST_FOR_ONE, children)
    return SupervisorSpec(children=(ChildSpec("gates", gates),))


@asynccontextmanager
async def log_in(folder):
    """The embedded log with the topics, and the same log behind faults."""
    async with open_embedded(folder, SystemClock(), Random(7)) as embedded:
        await embedded.log.start()
        specs = [TopicSpec(topic.name, topic.partitions, 3600.0, topic.max_record) for topic in TOPICS]
        await embedded.log.ensure(specs)
        faults = Faults(Random(7))
        yield embedded.log, Flaky(embedded.log, faults), faults


@asynccontextmanager
async def gate_in(folder, *, bind=ANY_PORT, limits=None, known_types=None, producer=None, **config):
    """A gate whose log is in `folder`. `config` are options of `GateConfig`, `producer` of `Producer`."""
    settings = GateConfig(**config)
    limits = limits or HttpLimits(header_timeout=settings.header_timeout, max_connections=settings.max_connections)
    async with log_in(folder) as (log, flaky, faults):
        spec = tree(flaky, bind=bind, config=settings, limits=limits, known_types=known_types, producer=producer or {})
        async with Runtime(spec) as runtime:
            gate = Gate(runtime, log, flaky, faults)
            await gate.start()
            try:
                yield gate
            finally:
                faults.heal()
                await gate.client.aclose()


async def until(condition, seconds=SECONDS):
    """Wait for a condition that nobody announces."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true"
        await asyncio.sleep(0.005)


def job(type_="t", **fields):
    return json.dumps({"type": type_, **fields}).encode()


def problem(response):
    """The kind of problem that a response is, and its status in both places."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["detail"]
    assert body["title"]
    return response.status_code, body["type"].removeprefix("urn:forebay:problem:")
