"""Posting a job through a host, and what the poster then knows."""

from __future__ import annotations

from functools import partial
from typing import Any

from forebay.actors.exits import ActorError
from forebay.actors.mailbox import ActorStopped, MailboxFull
from forebay.backends.errors import BackendError, UnknownOutcome
from forebay.backends.ports import Acks
from forebay.jobs import InvalidJob
from forebay.scenarios.loop import running_loop
from forebay.scenarios.simulation.book import Answer, Post
from forebay.scenarios.simulation.host import Host
from forebay.scenarios.simulation.process import Being, HostGone
from forebay.supervisors.job_runtime import Enqueued, JobRuntime

_NOT_DONE = (BackendError, InvalidJob, MailboxFull, ActorStopped)
"""What says that the job is not in the log, but for `UnknownOutcome`; any other error of the runtime leaves it open."""


async def post_through(
    host: Host[JobRuntime], type_: str, args: object, *, id_: str, topic: str, acks: Acks, **options: Any
) -> Post:
    """Post a job as `JobRuntime.enqueue` does in the host's process, and return the poster's knowledge of it."""

    def noted(answer: Answer, error: Exception | None = None, place: Enqueued | None = None) -> Post:
        partition, offset = (-1, -1) if place is None else (place.partition, place.offset)
        told = "" if error is None else f"{type(error).__name__}: {error}"
        return Post(id_, running_loop().time(), host.name, topic, acks.value, answer, partition, offset, told)

    if host.being is Being.DEAD:
        return noted(Answer.REFUSED, HostGone(f"{host.name} does not run"))
    try:
        runtime = host.runtime
    except HostGone as error:  # its process has begun, and has no runtime yet: it was stopped in its first step
        return noted(Answer.REFUSED, error)
    enqueue = partial(runtime.enqueue, type_, args, id=id_, topic=topic, acks=acks, **options)
    try:
        return noted(Answer.ACCEPTED, place=await host.run(enqueue))
    except UnknownOutcome as error:
        return noted(Answer.UNKNOWN, error)
    except _NOT_DONE as error:
        return noted(Answer.REFUSED, error)
    except (ActorError, HostGone, LookupError) as error:
        return noted(Answer.UNKNOWN, error)
