"""Limits changed by hand, from the command to the rate limiter, on embedded coordination and on a real Consul (R7)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import httpx
import pytest
from support.consul_sites import ask, clear
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.running import forebay

from forebay import Registry, Runtime
from forebay.actors.events import Noted
from forebay.actors.watch.limits import limit_routes
from forebay.actors.web import web_app
from forebay.backends.clock import SystemClock

LIMITER = "/relays/relay[jobs]/term/rate_limiter"


@pytest.fixture(params=["sqlite", "consul"])
def coordination(request):
    """The setting that names the coordination."""
    if request.param == "sqlite":
        yield {"url": "sqlite:"}
        return
    server = request.getfixturevalue("consul_server")
    yield {"url": server.url}
    clear(server)


class Stand:
    """A runtime with one topic, the command line beside it, and what its rate limiter says."""

    def __init__(self, folder, runtime, subscription, handled):
        self.folder, self.runtime, self.subscription, self.handled = folder, runtime, subscription, handled

    async def limits(self, *words):
        run = await asyncio.to_thread(forebay, "limits", *words, "--data", self.folder / "data", cwd=self.folder)
        return run.stdout.strip() or run.stderr.strip()

    async def next_limit(self):
        async for event in self.subscription:
            if isinstance(event, Noted) and event.path == LIMITER and event.name == "limit_set":
                return dict(event.fields)["rate"]
        raise AssertionError("the runtime ended")


@asynccontextmanager
async def standing(folder, coordination):
    registry, handled = Registry(), asyncio.Queue()

    @registry.job("echo")
    async def echo(job):
        handled.put_nowait(job.id)

    runtime = Runtime.from_config(
        {
            "data": str(folder / "data"),
            "coordination": coordination,
            "topics": [{"name": "jobs", "partitions": 1}],
            "gate": False,
            "console": False,
        },
        registry=registry,
    )
    async with runtime.events.subscribe(1000) as subscription, asyncio.timeout(90), runtime:
        stand = Stand(folder, runtime, subscription, handled)
        assert await stand.next_limit() == "5000/s"
        yield stand


async def test_a_pause_a_resume_and_a_rate_reach_the_relay_without_a_restart(tmp_path, coordination):
    async with standing(tmp_path, coordination) as stand:
        assert await stand.limits("list") == "jobs: 5000/s, as configured"
        assert await stand.limits("set", "jobs", "100/s") == "jobs: 100/s, in place of 5000/s"
        assert await stand.next_limit() == "100/s"
        assert await stand.limits("pause", "jobs") == "jobs: paused; then 100/s, in place of 5000/s"
        assert await stand.next_limit() == "0/s"
        await stand.runtime.enqueue("echo", id="waits")
        assert await stand.limits("list") == "jobs: paused; then 100/s, in place of 5000/s"
        assert stand.handled.empty()
        assert await stand.limits("resume", "jobs") == "jobs: 100/s, in place of 5000/s"
        assert await stand.next_limit() == "100/s"
        assert await stand.handled.get() == "waits"
        assert await stand.limits("clear", "jobs") == "jobs: 5000/s, as configured"
        assert await stand.next_limit() == "5000/s"


async def test_what_another_program_puts_into_consul_is_the_limit(tmp_path, consul_server):
    try:
        async with standing(tmp_path, {"url": consul_server.url}) as stand:
            ask(consul_server, "PUT", "/v1/kv/forebay/limits/jobs")  # an empty value is no limit
            assert "is no limit and is ignored: ''" in await stand.limits("list")
            await stand.limits("set", "jobs", "7/s")
            assert await stand.next_limit() == "7/s"
            await stand.limits("pause", "jobs")
            assert ask(consul_server, "GET", "/v1/kv/forebay/limits/jobs?raw=1")[1] == b"pause 7/s"
    finally:
        clear(consul_server)


# the routes


@pytest.fixture
async def store(tmp_path):
    embedded = InlineEmbedded(tmp_path, SystemClock(), Random(1))
    await embedded.start()
    yield embedded.coordination
    await embedded.stop()


@asynccontextmanager
async def asking(coordination):
    app = web_app(limit_routes(coordination=coordination, configured={"jobs": 5000.0}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
        yield client


async def test_each_action_answers_with_the_limit_then(store):
    async with asking(store) as client:
        seen = []
        for action, body in [
            ("set", {"topic": "jobs", "rate": " 20/h "}),
            ("pause", {"topic": "jobs"}),
            ("pause", {"topic": "jobs"}),
            ("resume", {"topic": "jobs"}),
            ("resume", {"topic": "jobs"}),
            ("pause", {"topic": "jobs"}),
            ("set", {"topic": "jobs", "rate": "7/s"}),
            ("clear", {"topic": "jobs"}),
            ("pause", {"topic": "jobs"}),
            ("resume", {"topic": "jobs"}),
        ]:
            answer = (await client.post(f"/limits/{action}", json=body)).json()
            assert answer == (await client.get("/limits")).json()["jobs"]
            assert answer["configured"] == "5000/s"
            seen.append((answer["rate"], answer["paused"]))
        kept, gone = ("20/h", False), (None, False)
        paused = ("20/h", True)
        assert seen == [kept, paused, paused, kept, kept, paused, ("7/s", False), gone, (None, True), gone]
        assert await store.get("forebay/limits/jobs") is None


@pytest.mark.parametrize(
    ("action", "body", "status", "problem", "told"),
    [
        ("set", b'{"topic": "jobs", "rate": "fast"}', 422, "invalid-limit", "write a rate like 5000/s"),
        ("set", b'{"topic": "jobs", "rate": "\\ud800"}', 422, "invalid-limit", "write a rate like 5000/s"),
        ("set", b'{"topic": "jobs"}', 422, "invalid-limit", 'send {"topic": "...", "rate": "..."}'),
        ("set", b'{"topic": "jobs", "rate": 5}', 422, "invalid-limit", 'send {"topic": "...", "rate": "..."}'),
        ("pause", b'{"topic": "jobs", "rate": "5/s"}', 422, "invalid-limit", 'send {"topic": "..."}'),
        ("pause", b'["jobs"]', 422, "invalid-limit", 'send {"topic": "..."}'),
        ("pause", b"{", 400, "malformed-json", "malformed JSON"),
        ("pause", b'{"topic": "male"}', 404, "unknown-topic", "the topics are jobs"),
        ("stop", b'{"topic": "jobs"}', 404, "no-such-route", "there are set, pause, resume, clear"),
    ],
)
async def test_what_is_no_limit_is_refused_with_advice_and_changes_nothing(store, action, body, status, problem, told):
    async with asking(store) as client:
        answer = await client.post(f"/limits/{action}", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:forebay:problem:{problem}")
    assert told in answer.json()["detail"]
    assert await store.get("forebay/limits/jobs") is None


async def test_a_form_of_another_site_changes_nothing(store):
    async with asking(store) as client:
        answer = await client.post("/limits/pause", content=b'{"topic": "jobs"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert await store.get("forebay/limits/jobs") is None


async def test_while_coordination_is_away_the_answer_is_503(store):
    faults = Faults(Random(1))
    faults.down = True
    async with asking(Flaky(store, faults)) as client:
        for answer in (await client.get("/limits"), await client.post("/limits/pause", json={"topic": "jobs"})):
            assert answer.status_code == 503
