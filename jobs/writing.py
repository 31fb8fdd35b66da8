"""A job document as a program writes it: the counterpart of `posts`, for all who post jobs from Python."""

from __future__ import annotations

import json

from .json_text import NotJson, decode_utf8, parse
from .posts import InvalidCode, InvalidJob, JobPost, parse_post

_SPACE = b" \t\r\n"


def write_post(
    type_: str,
    args: object = None,
    *,
    raw: bytes | None = None,
    id: str | None = None,  # noqa: A002 - the field's name in the HTTP interface
    dedup: str | bool | None = None,
    delay: float = 0.0,
    key: str | None = None,
    shadow: bool = False,
) -> tuple[bytes, JobPost]:
    """Return the document of a job, and the job that it says.

    `args` is any JSON value (`{}` if None); `raw` is JSON text in its stead, kept byte for byte. Raises `InvalidJob` for
    what the gate would refuse, and `TypeError` for `args` that JSON cannot say.
    """
    fields = {"type": type_, "id": id, "dedup": dedup, "delay": delay or None, "key": key, "shadow": shadow or None}
    if raw is None:
        raw = _encoded({} if args is None else args)
    head = _encoded({name: value for name, value in fields.items() if value is not None})
    body = head[:-1] + b', "args": ' + raw + b"}"
    post = _parsed(body, raw)
    if post.args != raw.strip(_SPACE):
        raise InvalidJob(InvalidCode.WRONG, "raw is one JSON value, and nothing behind it", "args")
    return body, post


def _parsed(body: bytes, raw: bytes) -> JobPost:
    """The job that `body` says. What is wrong in `raw` is told by its place there, not in the document around it."""
    try:
        return parse_post(body)
    except InvalidJob as error:
        if error.code is InvalidCode.MALFORMED:
            try:
                parse(decode_utf8(raw))
            except NotJson as fault:
                raise InvalidJob(error.code, f"malformed JSON: {fault}", error.field) from None
        raise


def _encoded(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise InvalidJob(InvalidCode.WRONG, f"a text has half a surrogate pair, which is no Unicode: {error}") from error
