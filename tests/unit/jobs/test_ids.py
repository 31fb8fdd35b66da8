import random

import pytest

from forebay.jobs import new_ulid, partition_of


def test_a_ulid_carries_its_time_in_the_first_ten_characters():
    # the example of the ULID specification
    assert new_ulid(1469918176385, random.Random(0))[:10] == "01ARYZ6S41"


def test_a_ulid_has_26_characters_of_crockford_base_32():
    ulid = new_ulid(1_700_000_000_000, random.Random(3))
    assert len(ulid) == 26
    assert set(ulid) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_ulids_of_later_milliseconds_sort_later():
    stream = random.Random(1)
    ids = [new_ulid(now, stream) for now in (0, 1, 31, 32, 1 << 40, (1 << 48) - 1)]
    assert ids == sorted(ids)


def test_ulids_of_one_millisecond_differ():
    stream = random.Random(2)
    assert len({new_ulid(5, stream) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("now", [-1, 1 << 48])
def test_a_time_outside_48_bits_is_refused(now):
    with pytest.raises(ValueError, match="48"):
        new_ulid(now, random.Random(0))


@pytest.mark.parametrize(("key", "of_8", "of_1000"), [("", 4, 652), ("a", 2, 250), ("order-1", 4, 396), ("é", 3, 51)])
def test_partitions_match_the_published_vectors(key, of_8, of_1000):
    assert (partition_of(key, 8), partition_of(key, 1000)) == (of_8, of_1000)


def test_partitions_are_evenly_used():
    counts = [0] * 8
    for number in range(8000):
        counts[partition_of(f"job-{number}", 8)] += 1
    assert min(counts) > 850
    assert max(counts) < 1150


def test_a_topic_without_partitions_is_refused():
    with pytest.raises(ValueError, match="at least one partition"):
        partition_of("a", 0)
