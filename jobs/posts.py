"""A job as its client writes it: a JSON document, checked field by field.

    {"type": "mail.send", "args": {...}, "id": "...", "dedup": true, "delay": 30, "key": "..."}

| field   | meaning                                                                     |
|---------|-----------------------------------------------------------------------------|
| `type`  | required; which handler runs it                                             |
| `args`  | any JSON value, kept byte for byte (row R10); `{}` if absent                |
| `id`    | idempotency key: the same id again is the same job                          |
| `dedup` | `true`: the canonical hash of type and args; a text: that text              |
| `delay` | seconds, from 0 to `MAX_DELAY`, before it may run                           |
| `key`   | ordering or concurrency key: jobs of one key go to one partition            |
| `shadow`| `true`: the relay reads it, counts it and drops it (row R9)                 |

Texts have 1 to 200 printable characters (`words.check_word`). `null` means absent, but for `args`.
"""

from __future__ import annotations

import enum
import math
from typing import Any

from attrs import field, frozen

from .canonical import canonical_hash
from .json_text import (
    MAX_DEPTH,
    DuplicateKeys,
    JsonError,
    NotJson,
    Number,
    TooDeep,
    check_depth,
    check_end,
    decode_utf8,
    scan_array,
    scan_object,
    scan_value,
    skip_space,
    skip_value,
)
from .words import check_word

MAX_DELAY = 3660 * 86_400.0
"""The longest `delay`, in seconds."""
MAX_TIME = 253_402_300_799_999
"""The last `not_before`, in Unix ms: the end of the year 9999."""

_MAX_DOCUMENT_DEPTH = 2 * MAX_DEPTH  # beyond it a batch is refused whole, to spare the stack
_POST_FIELDS = frozenset({"type", "args", "id", "dedup", "delay", "key", "shadow"})
_RECORD_FIELDS = _POST_FIELDS | {"not_before"}


class InvalidCode(enum.Enum):
    """What is wrong with a post. Only MALFORMED speaks of the text as a whole."""

    MALFORMED = "malformed_json"
    NOT_OBJECT = "not_an_object"
    MISSING = "missing_field"
    WRONG = "wrong_field"
    UNKNOWN = "unknown_field"
    REPEATED = "repeated_field"
    DUPLICATE_KEYS = "duplicate_keys"
    TOO_DEEP = "too_deep"


class InvalidJob(ValueError):
    """A post that is not a job. `field` names the field at fault, where there is one."""

    def __init__(self, code: InvalidCode, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


@frozen
class JobPost:
    """A valid post. `args` are the posted bytes, `delay` is in seconds, `not_before` in Unix ms."""

    type: str
    args: bytes = field(default=b"{}", repr=False)
    id: str | None = None
    dedup: str | None = None
    delay: float = 0.0
    key: str | None = None
    not_before: int | None = None
    shadow: bool = False

    def routing_key(self, id_: str) -> str:
        """What chooses the partition: the key if there is one, else the instance id."""
        return id_ if self.key is None else self.key


def parse_post(body: bytes) -> JobPost:
    """The job in an HTTP body. Raises `InvalidJob`."""
    return _parse_one(body, _POST_FIELDS)


def parse_record(value: bytes) -> JobPost:
    """The job in a raw record: as `parse_post`, and `not_before` (Unix ms) in place of `delay`."""
    return _parse_one(value, _RECORD_FIELDS)


def parse_batch(body: bytes, most: int | None = None) -> list[JobPost | InvalidJob]:
    """The items of `{"jobs": [...]}`, in order; a bad item is its own result.

    With `most`, one item more than that is the last: it says that there are too many, and what follows is not looked at.
    Raises `InvalidJob` if the document as a whole is not JSON or not of that form.
    """
    items: list[JobPost | InvalidJob] = []
    try:
        _read_batch(_checked_text(body), items, most)
    except _Enough:
        pass
    except JsonError as error:
        raise _from_json_error(error) from None
    return items


def _parse_one(body: bytes, allowed: frozenset[str]) -> JobPost:
    try:
        text = _checked_text(body)
        post, end = _item(text, skip_space(text, 0), allowed)
        check_end(text, end)
    except JsonError as error:
        raise _from_json_error(error) from None
    if isinstance(post, InvalidJob):
        raise post
    return post


def _checked_text(body: bytes) -> str:
    text = decode_utf8(body)
    check_depth(text, _MAX_DOCUMENT_DEPTH)
    return text


class _Enough(Exception):
    """There are more items than are wanted."""


def _read_batch(text: str, items: list[JobPost | InvalidJob], most: int | None) -> None:
    fault: InvalidJob | None = None
    seen: set[str] = set()

    def element(position: int) -> int:
        item, end = _item(text, position, _POST_FIELDS)
        items.append(item)
        if most is not None and len(items) > most:
            raise _Enough
        return end

    def member(key: str, position: int) -> int:
        nonlocal fault
        if key != "jobs":
            fault = fault or _unknown(key, frozenset({"jobs"}))
        elif key in seen:
            fault = fault or _repeated(key)
        elif text.startswith("[", position):
            seen.add(key)
            return scan_array(text, position, element)
        else:
            fault = fault or InvalidJob(InvalidCode.WRONG, "jobs must be an array of jobs", "jobs")
        return skip_value(text, position)

    start = skip_space(text, 0)
    if not text.startswith("{", start):
        check_end(text, skip_value(text, start))
        raise _not_an_object('a batch is an object: {"jobs": [...]}')
    check_end(text, scan_object(text, start, member))
    if fault:
        raise fault
    if not seen:
        raise InvalidJob(InvalidCode.MISSING, 'a batch is {"jobs": [...]}; jobs is missing', "jobs")


def _item(text: str, position: int, allowed: frozenset[str]) -> tuple[JobPost | InvalidJob, int]:
    """One job document and where it ends. Raises `JsonError` only for what ends the whole text."""
    if not text.startswith("{", position):
        end = skip_value(text, position)
        return _not_an_object('a job is an object: {"type": ..., "args": ...}'), end
    fields: dict[str, Any] = {}
    repeated: list[str] = []

    def member(key: str, start: int) -> int:
        if key in fields:
            repeated.append(key)
        if key == "args":
            end = skip_value(text, start)
            fields[key] = text[start:end]
        else:
            fields[key], end = scan_value(text, start)
        return end

    end = scan_object(text, position, member)
    try:
        if repeated:
            raise _repeated(repeated[0])
        return _to_post(fields, allowed), end
    except JsonError as error:
        return _from_json_error(error), end
    except InvalidJob as error:
        return error.with_traceback(None), end  # a result among many: its frames would hold a kilobyte and more


def _to_post(fields: dict[str, Any], allowed: frozenset[str]) -> JobPost:
    for name in fields:
        if name not in allowed:
            raise _unknown(name, allowed)
    type_ = _word(fields, "type")
    if type_ is None:
        raise InvalidJob(InvalidCode.MISSING, "type is missing: it names the handler", "type")
    text = fields.get("args", "{}")
    check_depth(text, MAX_DEPTH)
    args = text.encode("utf-8")
    not_before = _not_before(fields)
    return JobPost(
        type=type_,
        args=args,
        id=_word(fields, "id"),
        dedup=_dedup(fields, type_, args),
        delay=_delay(fields),
        key=_word(fields, "key"),
        not_before=not_before,
        shadow=_shadow(fields),
    )


def _word(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not str:  # a Number is a str as well
        raise _wrong(name, f"{name} must be a text in quotes")
    try:
        check_word(name, value)
    except ValueError as error:
        raise _wrong(name, str(error)) from None
    return value


def _dedup(fields: dict[str, Any], type_: str, args: bytes) -> str | None:
    value = fields.get("dedup")
    if value is None or value is False:
        return None
    if value is True:
        return canonical_hash(type_, args)
    if type(value) is not str:
        raise _wrong("dedup", "dedup must be true (hash of type and args) or a text in quotes")
    return _word(fields, "dedup")


def _shadow(fields: dict[str, Any]) -> bool:
    value = fields.get("shadow")
    if value is not None and type(value) is not bool:
        raise _wrong("shadow", "shadow must be true or false")
    return value is True


def _delay(fields: dict[str, Any]) -> float:
    value = fields.get("delay")
    if value is None:
        return 0.0
    seconds = float(value) if isinstance(value, Number) else math.nan
    if not 0 <= seconds <= MAX_DELAY:
        raise _wrong("delay", f"delay must be a number of seconds from 0 to {MAX_DELAY:.0f}")
    return seconds


def _not_before(fields: dict[str, Any]) -> int | None:
    value = fields.get("not_before")
    if value is None:
        return None
    if fields.get("delay") is not None:
        raise _wrong("not_before", "give delay or not_before, not both")
    if not (isinstance(value, Number) and value.isdigit() and len(value) <= len(str(MAX_TIME))):
        raise _wrong("not_before", f"not_before must be Unix milliseconds, 0 to {MAX_TIME}")
    if int(value) > MAX_TIME:
        raise _wrong("not_before", f"not_before must be Unix milliseconds, 0 to {MAX_TIME}")
    return int(value)


def _from_json_error(error: JsonError) -> InvalidJob:
    if isinstance(error, TooDeep):
        return InvalidJob(InvalidCode.TOO_DEEP, f"{error}; args may have {MAX_DEPTH} levels")
    if isinstance(error, DuplicateKeys):
        advice = f"{error}; give dedup as a text, or each key once"
        return InvalidJob(InvalidCode.DUPLICATE_KEYS, advice, "dedup")
    assert isinstance(error, NotJson)
    return InvalidJob(InvalidCode.MALFORMED, f"malformed JSON: {error}")


def _not_an_object(message: str) -> InvalidJob:
    return InvalidJob(InvalidCode.NOT_OBJECT, message)


def _wrong(name: str, message: str) -> InvalidJob:
    return InvalidJob(InvalidCode.WRONG, message, name)


def _repeated(name: str) -> InvalidJob:
    shown = _shown(name)
    return InvalidJob(InvalidCode.REPEATED, f"{shown} is there twice; give it once", shown)


def _unknown(name: str, allowed: frozenset[str]) -> InvalidJob:
    shown = _shown(name)
    message = f"there is no field {shown!r}; the fields are {', '.join(sorted(allowed))}"
    return InvalidJob(InvalidCode.UNKNOWN, message, shown)


def _shown(name: str) -> str:
    """A field's name as the client wrote it, short and printable."""
    return name[:40].encode("ascii", "backslashreplace").decode("ascii")
