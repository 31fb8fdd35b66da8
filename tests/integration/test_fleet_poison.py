"""Jobs that can never work, and jobs that cannot work now, among thousands that can: nobody waits for them (R6).

One poisoned record goes with each batch, for at least 20 s and 10,000 good jobs (`make test-long`: ten minutes).
"""

import json
import threading
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import pytest
import pytest_asyncio
from anyio import to_thread
from support.effort import LONG
from support.fleets import SECONDS, SETTINGS, lost_nothing, sound_fleet, under_load
from support.live import eventually

from forebay.backends.redis.codec import prefix
from forebay.scenarios.fleet import Poison, Services
from forebay.scenarios.journal import Journal, read_journal
from forebay.scenarios.ledger import FINISHED
from forebay.scenarios.poster import Poster

TOPIC = "poisoned"
PARTITIONS = 4
POISON = Poison(b'{"type": "work", "args": ', PARTITIONS)
REFUSED = 20
REPAIRED = 1_000
LASTS = 600.0 if LONG else SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory, kafka_broker, consul_server, redis):
    services = Services(kafka_broker.url, consul_server.port, {"main": redis.main.port})
    settings = {**SETTINGS, "topics": [{"name": TOPIC, "partitions": PARTITIONS}]}
    async with sound_fleet(tmp_path_factory.mktemp("fleet"), services, settings, {"one": {}, "two": {}}) as fleet:
        yield fleet


def finished(fleet):
    return {words[0] for words in read_journal(fleet.handled) if words[1] == FINISHED}


async def test_jobs_in_error_hold_nobody_up_and_come_to_an_end(fleet, redis, record_figure):
    """What can never be a job is parked, repaired and run; what Redis refuses for now comes back by itself."""
    async with under_load(fleet, "load", seconds=LASTS, poison=POISON) as trial:
        await spoil(redis.main)
        refused = await to_thread.run_sync(post_spoiled, fleet)
        await eventually(lambda: were_put_back(fleet, len(refused)))
        assert finished(fleet).isdisjoint(refused)
        await heal(redis.main)
    lost_nothing(trial, record_figure, "one poisoned record in each batch")
    (member, *_) = fleet.members.values()
    places = {words[0] for words in read_journal(trial.load.poisoned)}
    assert len(places) >= len(trial.ledger.posted) / 10 - 10
    assert {place.split("/")[1] for place in places} == {str(n) for n in range(PARTITIONS)}
    await eventually(lambda: are_parked(member, len(places)))
    view = await member.ask(f"/jobs?{urlencode({'topic': TOPIC, 'state': 'parked', 'limit': 1})}")
    assert "job document" in view["jobs"][0]["error"]
    repaired = set(sorted(places)[:REPAIRED])
    await to_thread.run_sync(repair, member, repaired)
    await eventually(lambda: have_run(fleet, repaired | refused), 60)
    told = f"of {len(places)} that were parked, and {len(refused)} jobs that Redis had refused"
    record_figure("poisoned records repaired and run", len(repaired), told)
    assert (await member.ask("/counts"))[TOPIC]["parked"] == len(places - repaired)


async def spoil(server):
    """Let dedup ids name jobs that are not there: the script breaks off at the next job with one of them."""
    async with server.client() as client:
        await client.hset(f"{prefix(TOPIC)}firsts", mapping={f"={n}": "ghost" for n in range(REFUSED)})


async def heal(server):
    async with server.client() as client:
        await client.hdel(f"{prefix(TOPIC)}firsts", *(f"={n}" for n in range(REFUSED)))


def post_spoiled(fleet):
    """Post jobs with these dedup ids; return their ids."""
    with Journal(fleet.folder / "refused.posted") as journal:
        poster = Poster(lambda: fleet.gate(0), journal, threading.Event())
        ids = [f"refused-{n}" for n in range(REFUSED)]
        for n, id_ in enumerate(ids):
            poster.post({"type": "work", "id": id_, "dedup": str(n), "args": {}})
        poster.close()
    return set(ids)


def repair(member, places):
    """Give each parked record a type and arguments, as a person would through the console."""
    connection = HTTPConnection(urlsplit(member.console).netloc, timeout=10)
    for place in places:
        query = urlencode({"topic": TOPIC, "id": place, "type": "work"})
        connection.request("POST", f"/jobs/repair?{query}", b"{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["topic"]) == (200, TOPIC)
    connection.close()


async def were_put_back(fleet, number):
    events = [event for member in fleet.members.values() for event in member.happenings()]
    return sum(event.name == "put_back" for event in events) >= number


async def are_parked(member, number):
    return (await member.ask("/counts"))[TOPIC]["parked"] >= number


async def have_run(fleet, ids):
    return ids <= finished(fleet)
