"""What an append is answered when brokers refuse parts of it: a clear no only where nothing can be in the log (G3)."""

from types import SimpleNamespace

import pytest
from aiokafka import errors

from forebay.backends.errors import BackendError, RecordTooLarge, Unavailable, UnknownOutcome
from forebay.backends.kafka.log import KafkaLog
from forebay.backends.ports import Acks, NewRecord, TopicSpec
from forebay.scenarios.loop import running_loop
from forebay.scenarios.virtual import run_virtual

WRITTEN, UNKNOWN = 0, -1
REFUSED, TOO_LARGE = errors.TopicAuthorizationFailedError.errno, errors.MessageSizeTooLargeError.errno


class Brokers:
    """In a cluster's place: a broker for each partition, which answers every request with its own code."""

    client, timeout, servers = None, 5.0, "brokers"

    def __init__(self, *codes):
        self.codes = codes

    async def require(self, topic, partitions):
        pass

    def leader(self, topic, partition):
        return partition

    async def send(self, node, request, socket):
        return SimpleNamespace(topics=[("jobs", [(node, self.codes[node], 7)])])


def appended(*codes):
    """Append a record to each partition, whose leader answers with that code."""

    async def main():
        log = KafkaLog("brokers", running_loop().clock)
        log._cluster = log._sender._cluster = Brokers(*codes)
        log.limit([TopicSpec("jobs", len(codes), retention=60.0, max_record=1000)])
        return await log.append([NewRecord("jobs", number, b"x") for number in range(len(codes))], Acks.LEADER)

    return run_virtual(main)


def test_all_that_was_written_is_answered_with_its_offsets():
    assert list(appended(WRITTEN, WRITTEN)) == [7, 7]


@pytest.mark.parametrize(
    ("codes", "error"),
    [
        ([REFUSED, REFUSED], BackendError),
        ([TOO_LARGE, WRITTEN], RecordTooLarge),  # `Log.append`: the producer finds out whose it is
        ([REFUSED, WRITTEN], UnknownOutcome),
        ([REFUSED, UNKNOWN], UnknownOutcome),
        ([UNKNOWN], UnknownOutcome),
    ],
)
def test_what_may_be_in_the_log_is_not_said_to_be_refused(codes, error):
    with pytest.raises(BackendError) as told:
        appended(*codes)
    assert type(told.value) is error
    assert not isinstance(told.value, Unavailable) or error is UnknownOutcome
