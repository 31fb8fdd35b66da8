"""What a backend can say instead of an answer.

Adapters map every foreign exception to one of these at their border; nothing above `backends` imports a client
library's errors. `Unavailable` is the environment's doing and is waited out; the others are answers.
"""


class BackendError(Exception):
    """A backend refused or failed a call; the base of every error a port raises."""


class Unavailable(BackendError):
    """The service does not answer now. Nothing is known to have happened; the call may be made again."""


class UnknownOutcome(Unavailable):
    """The request was sent and no answer came: it may or may not have taken effect."""


class Full(Unavailable):
    """The service answers but has no room to take more; what frees room still works."""


class UnknownTopic(BackendError):
    """The log has no such topic."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"no topic {topic!r} in the log")
        self.topic = topic


class UnknownPartition(BackendError):
    """The topic has no such partition."""

    def __init__(self, topic: str, partition: int, partitions: int) -> None:
        super().__init__(f"topic {topic!r} has partitions 0 to {partitions - 1}, not {partition}")
        self.topic, self.partition, self.partitions = topic, partition, partitions


class RecordTooLarge(BackendError):
    """The record is over what the log takes (bytes)."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the record has {size} bytes and the log takes at most {limit}")
        self.size, self.limit = size, limit


class JobTooLarge(BackendError):
    """The job, or the parked record, is over what the queue can ever take (bytes)."""

    def __init__(self, size: int, limit: int, advice: str) -> None:
        super().__init__(f"the job has {size} bytes and the queue takes at most {limit}; {advice}")
        self.size, self.limit = size, limit


class AcksNotOffered(BackendError):
    """The topic cannot keep the level of acks that was asked for; nothing was written."""

    def __init__(self, topic: str, acks: str) -> None:
        super().__init__(f"topic {topic!r} cannot keep acks: {acks}")
        self.topic, self.acks = topic, acks


class OffsetOutOfRange(BackendError):
    """The offset asked for lies before the log's start or past its end."""

    def __init__(self, topic: str, partition: int, offset: int, start: int, end: int) -> None:
        super().__init__(f"{topic}/{partition}: offset {offset} is outside {start}..{end}")
        self.topic, self.partition, self.offset = topic, partition, offset
        self.start, self.end = start, end


class StaleToken(BackendError):
    """The queue holds a larger fencing token: another term has begun, this one must end."""

    def __init__(self, topic: str, token: object, stored: object) -> None:
        super().__init__(f"topic {topic!r}: token {token} is stale, the queue holds {stored}")
        self.topic, self.token, self.stored = topic, token, stored


class FenceMissing(BackendError):
    """The queue has no fence for this topic, or another epoch than the term's: it forgot, and must be planted anew."""


class MarkMismatch(BackendError):
    """A batch does not begin at the partition's mark; `next` says where the queue wants to go on."""

    def __init__(self, topic: str, partition: int, start: int, next_: int) -> None:
        super().__init__(f"{topic}/{partition}: the batch begins at {start}, the mark is {next_}")
        self.topic, self.partition, self.start, self.next = topic, partition, start, next_


class SessionGone(BackendError):
    """The coordination session has ended or was never there; whatever it held is lost."""


class DataFolderInUse(BackendError):
    """Another process has the data folder, which admits one at a time."""


class StoreCorrupt(BackendError):
    """A store file is there but cannot be used (not ours, a newer schema, damaged)."""
