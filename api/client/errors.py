"""How a post can fail. Whatever is raised, no job was reported as accepted that is not."""

from __future__ import annotations

from attrs import frozen


@frozen
class ProblemDetails:
    """Why a gate said no (RFC 9457). Decide by `type`; `detail` is for people."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    code: str | None = None
    field: str | None = None


class PostError(Exception):
    """A post did not succeed. `ids` are the jobs' instance ids, those that the client made included.

    `maybe_accepted`: an attempt was sent and not answered, so the jobs may be in; posting them again with the same ids is
    safe, and makes one job of each as long as the first is unfinished.
    """

    def __init__(self, message: str, ids: tuple[str, ...], *, maybe_accepted: bool) -> None:
        super().__init__(message)
        self.ids, self.maybe_accepted = ids, maybe_accepted


class Refused(PostError):
    """A gate refused it, and would again: `problem` says what to repair."""

    def __init__(self, problem: ProblemDetails, ids: tuple[str, ...], *, maybe_accepted: bool = False) -> None:
        super().__init__(f"{problem.title}: {problem.detail}", ids, maybe_accepted=maybe_accepted)
        self.problem = problem


class Unreachable(PostError):
    """No gate took it in time, and it is known that nothing was accepted."""

    def __init__(self, message: str, ids: tuple[str, ...]) -> None:
        super().__init__(message, ids, maybe_accepted=False)


class TimedOut(PostError):
    """Time is up, and whether it was accepted is not known: post it again with the same id."""

    def __init__(self, message: str, ids: tuple[str, ...]) -> None:
        super().__init__(message, ids, maybe_accepted=True)
