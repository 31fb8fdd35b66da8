"""The client that programs post jobs with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlencode

from attrs import field, frozen

from forebay.backends.clock import SystemClock
from forebay.client.address import addresses
from forebay.client.answers import Receipt, receipt_of, results_of
from forebay.client.connection import Request
from forebay.client.errors import ProblemDetails, Refused
from forebay.client.gates import Gates, GateView
from forebay.client.post import Post
from forebay.jobs import InvalidCode, InvalidJob, new_ulid
from forebay.jobs.writing import write_post

Acks = Literal["leader", "all"]


@frozen
class NewJob:
    """A job of a batch; the fields are those of `Client.enqueue`."""

    type: str
    args: object = field(default=None, repr=False)
    raw: bytes | None = field(default=None, repr=False, kw_only=True)
    id: str | None = field(default=None, kw_only=True)
    dedup: str | bool | None = field(default=None, kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    key: str | None = field(default=None, kw_only=True)
    shadow: bool = field(default=False, kw_only=True)


class Client:
    """Posts jobs to the nearest gate that works.

    `gates` are their addresses, `http://host:port` or `unix:/path/to/control.sock`. Gates on this host come first, then
    those that say they are in `zone`, then the others. `patience` is how many seconds one gate has for its first answer
    before another is asked; each repetition of a post doubles it. There are at most `connections` to each gate.

    Use it as `async with Client(...) as client`, in one event loop; it may be shared by all of that loop's tasks. A gate
    that is away at the start is no error: a post waits for one as long as it may. Raises `ValueError` for an address that
    names no gate.
    """

    def __init__(
        self,
        gates: str | Sequence[str],
        *,
        zone: str | None = None,
        patience: float = 3.0,
        connections: int = 20,
        wall: Callable[[], int] | None = None,
        random: Random | None = None,
    ) -> None:
        if patience <= 0:
            raise ValueError(f"patience is {patience} s; it must be more than 0")
        if connections < 1:
            raise ValueError(f"connections is {connections}; it must be at least 1")
        self._wall = SystemClock().wall if wall is None else wall
        self._random = (
            SystemRandom() if random is None else random
        )  # no two processes draw the same ids, forked ones neither
        self._known = addresses(gates)
        self._zone, self._patience, self._connections = zone, patience, connections
        self._gates: Gates | None = None

    async def __aenter__(self) -> Self:
        if self._gates is not None:
            raise RuntimeError("this client has been used already; make another one")
        self._gates = Gates(
            self._known,
            zone=self._zone,
            patience=self._patience,
            connections=self._connections,
            wall=self._wall,
            random=self._random,
        )
        started = False
        try:
            await self._gates.start()
            started = True
        finally:
            if not started:
                await self._gates.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running().close()

    @property
    def gates(self) -> tuple[GateView, ...]:
        """Every gate as it stands now, in the order given."""
        return self._running().view()

    async def enqueue(
        self,
        type_: str,
        args: object = None,
        *,
        raw: bytes | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in the HTTP interface
        dedup: str | bool | None = None,
        delay: float = 0.0,
        key: str | None = None,
        shadow: bool = False,
        topic: str | None = None,
        acks: Acks | None = None,
        timeout: float = 10.0,
    ) -> Receipt:
        """Post one job; return once a gate has said that it is durable in the log.

        `args` is any JSON value; `raw` is JSON text in its stead, kept byte for byte. A `shadow` is read and counted by the
        relay, and no worker gets it. The job has an instance id in any
        case, so it may be posted again by this call, to whichever gate, and by you, and is one job while the first is
        unfinished. `timeout` is the time for everything, in seconds. Raises `Refused`, `Unreachable` and `TimedOut`.
        """
        job = NewJob(type_, args, raw=raw, id=id, dedup=dedup, delay=delay, key=key, shadow=shadow)
        id_, body = self._written(job)
        if isinstance(body, ProblemDetails):
            raise Refused(body, (id_,))
        post = self._post("/v1/jobs", topic, acks, body, (id_,), timeout)
        return await post.until_answered(lambda answer: receipt_of(answer, id_))

    async def enqueue_batch(
        self, jobs: Sequence[NewJob], *, topic: str | None = None, acks: Acks | None = None, timeout: float = 10.0
    ) -> list[Receipt | Refused]:
        """Post many jobs in one request; return a result for each, in order.

        What is no job at all is refused here, and the others are posted. Raises `Refused` if the batch was refused as a
        whole (too long, too large), `Unreachable` and `TimedOut`, each for all jobs alike.
        """
        written = [self._written(job) for job in jobs]
        good = [(id_, body) for id_, body in written if isinstance(body, bytes)]
        answered = iter(await self._post_batch(good, topic, acks, timeout) if good else ())
        return [next(answered) if isinstance(body, bytes) else Refused(body, (id_,)) for id_, body in written]

    async def _post_batch(
        self, jobs: Sequence[tuple[str, bytes]], topic: str | None, acks: Acks | None, timeout: float
    ) -> list[Receipt | Refused]:
        ids = tuple(id_ for id_, _ in jobs)
        body = b'{"jobs": [' + b", ".join(text for _, text in jobs) + b"]}"
        post = self._post("/v1/batch", topic, acks, body, ids, timeout)
        results = await post.until_answered(lambda answer: results_of(answer, ids))
        return [
            Refused(result, (id_,), maybe_accepted=post.unanswered) if isinstance(result, ProblemDetails) else result
            for id_, result in zip(ids, results, strict=True)
        ]

    def _post(
        self, path: str, topic: str | None, acks: Acks | None, body: bytes, ids: tuple[str, ...], timeout: float
    ) -> Post:
        query = urlencode({name: value for name, value in (("topic", topic), ("acks", acks)) if value is not None})
        request = Request("POST", f"{path}?{query}" if query else path, body)
        return Post(self._running(), request, ids, patience=self._patience, timeout=timeout)

    def _written(self, job: NewJob) -> tuple[str, bytes | ProblemDetails]:
        id_ = new_ulid(self._wall(), self._random) if job.id is None else job.id
        try:
            body, _ = write_post(
                job.type,
                job.args,
                raw=job.raw,
                id=id_,
                dedup=job.dedup,
                delay=job.delay,
                key=job.key,
                shadow=job.shadow,
            )
        except InvalidJob as error:
            return id_, _invalid(error)
        return id_, body

    def _running(self) -> Gates:
        if self._gates is None:
            raise RuntimeError("the client is not open; use it as `async with Client(...) as client`")
        return self._gates


def _invalid(error: InvalidJob) -> ProblemDetails:
    """What a gate answers to the same text."""
    if error.code is InvalidCode.MALFORMED:
        return ProblemDetails("urn:forebay:problem:malformed-json", "The body is not JSON", 400, error.message)
    title = "The body is JSON but not a job"
    return ProblemDetails("urn:forebay:problem:invalid-job", title, 422, error.message, error.code.value, error.field)
