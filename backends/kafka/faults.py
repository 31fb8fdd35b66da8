"""aiokafka's errors in the words of `backends.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiokafka import errors

from forebay.backends.errors import BackendError, Unavailable

ELSEWHERE: Final = (
    errors.NotLeaderForPartitionError,
    errors.LeaderNotAvailableError,
    errors.UnknownTopicOrPartitionError,
    errors.ReplicaNotAvailableError,
    errors.BrokerNotAvailableError,
)
"""The broker asked does not serve the partition (now), and has done nothing: ask for the leader and try again."""

OF_THE_TOPIC: Final = (
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.InvalidTopicError,
    errors.UnsupportedVersionError,
)
"""What a broker says of a partition and means of the whole topic, or of the client: no other partition fares better."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise the port's error in place of a foreign one. `doing` says what was being done.

    For calls that write nothing; what an append's failure means, `Sender` decides.
    """
    try:
        yield
    except errors.KafkaError as error:
        raise translate(error, doing) from error
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{doing}: {error}; check that the brokers run and can be reached") from error


def translate(error: errors.KafkaError, doing: str) -> BackendError:
    """Return the port's error: `Unavailable` for what may pass by itself, else `BackendError`."""
    if error.retriable or isinstance(error, errors.KafkaConnectionError | errors.KafkaTimeoutError):
        return Unavailable(f"{doing}: {error!r}; check that the brokers run and can be reached")
    return BackendError(f"{doing}: {error!r}; see the brokers' logs and their access rules")
