"""docs/http.md says what the doors do: its curl lines run in order, and its table of problems is the whole of them."""

import asyncio
import json
import re
import shlex
import shutil
from functools import partial
from random import Random

import pytest
from support.gates import TOPICS, log_in, tree
from support.sources import ROOT

from forebay.actors.gate.http_server import HttpServer
from forebay.actors.gate.messages import Tcp, WhereBound
from forebay.actors.gate.protocol import HttpLimits
from forebay.actors.hosts import own_hosts
from forebay.actors.problems import KINDS
from forebay.actors.process import Limits
from forebay.actors.watch.console import console_routes
from forebay.actors.watch.ended import newest_ends
from forebay.actors.watch.repairs import Repairs
from forebay.actors.web import web_app
from forebay.backends.clock import SystemClock
from forebay.backends.ports import ParkedRecord, Token
from forebay.backends.sqlite.embedded import open_embedded
from forebay.config import GateConfig
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, SupervisorSpec

PAGE = (ROOT / "docs" / "http.md").read_text()
ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
ANY = Tcp("127.0.0.1", 0)
HEADERS = (
    ("forebay-type", b"mail.send"),
    ("forebay-id", b"order-9"),
    ("forebay-enqueued-at", b"5"),
    ("forebay-dedup", b"\xff"),
)


def sessions():
    """Each command of the page with what it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        lines = block.splitlines()
        for command, printed in zip(lines[::2], lines[1::2], strict=True):
            yield command.removeprefix("$ "), json.loads(printed)


def agrees(shown, found):
    """Whether an answer is the one shown; where the gate made the id, its place is another one each time."""
    if isinstance(shown, dict) and ULID.fullmatch(str(shown.get("id"))):
        made = {"id", "partition", "offset"}
        rest = [{k: v for k, v in one.items() if k not in made} for one in (shown, found)]
        return bool(ULID.fullmatch(found["id"])) and rest[0] == rest[1] and shown.keys() == found.keys()
    return shown == found


async def curl(command, ports):
    for shown, bound in ports.items():
        command = command.replace(f"127.0.0.1:{shown}", f"127.0.0.1:{bound}")
    words = [*shlex.split(command), "-sS"]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return json.loads(output)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (Debian: apt install curl)")
async def test_every_curl_line_prints_what_the_page_shows(tmp_path):
    async with (
        open_embedded(tmp_path / "queue", SystemClock(), Random(1)) as stores,
        log_in(tmp_path / "log") as (log, _, _),
    ):
        queue = stores.queue("main")
        await queue.start()
        queues = {topic.name: queue for topic in TOPICS}
        repairs = Repairs(log, queues, TOPICS)
        planted = await queue.plant("mail", Token(1, 1))
        broken = [ParkedRecord(0, "the header forebay-dedup is not UTF-8", b'{"to": "ann"}', HEADERS)]
        await queue.write("mail", Token(1, 1), planted.epoch, 0, 0, 1, broken)

        def console(_ctx):
            routes = console_routes(
                tree=runtime.tree, events=runtime.events, queues=queues, repairs=repairs, ends=partial(newest_ends, log)
            )
            return web_app(routes, hosts=own_hosts("127.0.0.1"))

        gates = tree(log, bind=ANY, config=GateConfig(), limits=HttpLimits(), known_types=None, producer={})
        server = ChildSpec("console", partial(HttpServer, app=console, bind=ANY), limits=Limits(shutdown=8.0))
        runtime = Runtime(SupervisorSpec(children=(*gates.children, server)))
        async with runtime:
            urls = [await runtime.ref(path).ask(WhereBound(), 5.0) for path in ("/gates/http_server", "/console")]
            ports = dict(zip(("8080", "8081"), [url.rsplit(":", 1)[1] for url in urls], strict=True))
            shown = list(sessions())
            found = [await curl(command, ports) for command, _ in shown]
    assert len(shown) > 10
    differing = [(c, s, f) for (c, s), f in zip(shown, found, strict=True) if not agrees(s, f)]
    assert differing == []


def test_the_table_of_problems_is_the_whole_of_them():
    rows = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((str(kind.status), kind.name) for kind in KINDS)


def test_every_problem_has_a_name_and_a_title_of_its_own():
    assert len({kind.name for kind in KINDS}) == len({kind.title for kind in KINDS}) == len(KINDS)
