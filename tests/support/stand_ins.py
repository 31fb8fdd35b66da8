"""Servers that are no gate of ours: what a client may find at an address instead, or in front of one."""

import asyncio
import json
from contextlib import asynccontextmanager


class Late:
    """An answer after so many seconds."""

    def __init__(self, seconds, answer):
        self.seconds, self.answer = seconds, answer


GATE = b'{"zone": "a", "topics": [], "batch_limit": 1000}'


class StandIn:
    """Answers `GET /v1/gate` with `gate` (None: not at all), and each POST with the next of `answers`, the last for ever.

    An answer is (status, headers, body); None is silence; bytes are written as they are, and the connection is closed.
    """

    def __init__(self, *answers, gate=GATE):
        self.answers, self.gate = list(answers), gate
        self.posts = []
        self.times = []
        self.open = 0
        self.most_open = 0

    async def serve(self, reader, writer):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while head := await self._head(reader):
                if not await self._answer(head, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _head(self, reader):
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return None

    async def _answer(self, head, reader, writer):
        if head.startswith("GET "):
            if self.gate is None:
                await reader.read()
                return False
            writer.write(http(200, {}, self.gate))
            return True
        length = next(int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length"))
        body = await reader.readexactly(length)
        self.posts.append(json.loads(body))
        self.times.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Late):
            await asyncio.sleep(answer.seconds)
            answer = answer.answer
        if answer is None:
            await reader.read()  # until the client has had enough
            return False
        if isinstance(answer, bytes):
            writer.write(answer)
            return False
        status, headers, text = answer
        writer.write(http(status, headers, text if isinstance(text, bytes) else json.dumps(text).encode()))
        return True


def http(status, headers, body):
    lines = [f"HTTP/1.1 {status} Status", f"content-length: {len(body)}", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def stand_in(*answers, gate=GATE):
    """A `StandIn` on a port of its own; its `url` is there."""
    one = StandIn(*answers, gate=gate)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield one


def accepted(id_):
    """A gate's yes."""
    return 202, {}, {"id": id_, "topic": "jobs", "partition": 0, "offset": 0, "durability": "disk"}


def refused(status, name, **headers):
    """A gate's no."""
    body = {"type": f"urn:forebay:problem:{name}", "title": "T", "status": status, "detail": "D"}
    return status, {"content-type": "application/problem+json", **headers}, body
