"""What is kept of a handler's failure: text for the person who looks at a retrying or dead job."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

FRAMES: Final = 5
"""How many of the innermost frames are kept."""

MAX_HEAD: Final = 1000
MAX_TEXT: Final = 4000
"""The longest text, in characters; its first line is at most `MAX_HEAD`."""


def failure_text(error: BaseException) -> str:
    """Type and message on the first line, then the end of the traceback; storable whatever the error says.

    An error that cannot tell its own message, or holds characters without a UTF-8 form, is told all the same.
    """
    told = traceback.TracebackException(type(error), error, _from_the_handler(error.__traceback__), limit=-FRAMES)
    head = _storable(" ".join("".join(told.format_exception_only()).split()))[:MAX_HEAD]
    trace = _storable("".join(told.format())).rstrip()
    return f"{head}\n{trace[-(MAX_TEXT - len(head) - 1) :]}"


def _from_the_handler(trace: TracebackType | None) -> TracebackType | None:
    """Without the frames that led to the handler; all of them if it was never reached."""
    inner = trace
    while inner is not None and inner.tb_frame.f_globals.get("__name__", "").startswith(("forebay.actors.", "anyio.")):
        inner = inner.tb_next
    return inner or trace


def _storable(text: str) -> str:
    """Without lone surrogates, which no store takes, and without NUL, at which some stores end a text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
