"""Random streams from one seed (T3 of docs/semantics.md)."""

from forebay.supervisors.streams import seeded_streams


def draw(seed, name):
    return seeded_streams(seed)(name).random()


def test_a_stream_depends_on_the_seed_and_on_its_name_alone():
    streams = seeded_streams(7)
    first, other = streams("/a#1"), streams("/b#1")
    alone = seeded_streams(7)("/b#1")
    first.random()
    assert [other.random() for _ in range(5)] == [alone.random() for _ in range(5)]
    assert draw(7, "/a#1") != draw(8, "/a#1")
    assert draw(7, "/a#1") != draw(7, "/a#2")


def test_a_seed_gives_the_same_stream_in_every_version():
    """A recorded seed must not come to mean something else."""
    assert seeded_streams(7)("/a#1").getrandbits(64) == 17358883379444622510
