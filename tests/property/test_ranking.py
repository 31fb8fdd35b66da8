"""The rendezvous order of instances: what it must hold for any names (R13)."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from forebay.actors.relay.ranking import Spread, rank

names = st.text(st.characters(min_codepoint=1, codec="utf-8"), min_size=1, max_size=8)
instances = st.lists(names, min_size=1, max_size=8, unique=True)


def order(topic, living):
    return sorted(living, key=lambda name: rank(topic, name, living))


@given(names, instances)
def test_all_instances_see_one_order_in_which_each_has_its_own_place(topic, living):
    assert sorted(rank(topic, name, living) for name in living) == list(range(len(living)))
    assert [rank(topic, name, reversed(living)) for name in order(topic, living)] == list(range(len(living)))


@given(names, instances, st.data())
def test_who_comes_or_goes_changes_no_order_among_the_others(topic, living, data):
    gone = data.draw(st.sampled_from(living))
    rest = [name for name in living if name != gone]
    assert order(topic, rest) == [name for name in order(topic, living) if name != gone]


@given(names, names, instances)
def test_an_instance_that_is_not_on_the_list_yet_counts_itself(topic, name, living):
    others = [other for other in living if other != name]
    assert rank(topic, name, others) == rank(topic, name, [name, *others])


topics = st.lists(names, min_size=1, max_size=20, unique=True)


def share(found, living):
    return -(-found // living)


@given(topics, instances, st.data())
def test_among_those_with_room_the_order_is_the_topics_own_and_the_full_ones_come_after_them(held, living, data):
    free, *rest = held
    spread = Spread(frozenset(living), {topic: data.draw(st.sampled_from(living)) for topic in rest})
    counts = Counter(spread.holders.values())
    placed = sorted(living, key=lambda name: spread.place(free, name))
    assert [spread.place(free, name) for name in placed] == list(range(len(living)))
    full = [counts[name] >= share(len(held), len(living)) for name in placed]
    assert full == sorted(full)
    for part in (False, True):
        members = [name for name, is_full in zip(placed, full, strict=True) if is_full is part]
        assert members == order(free, members)


@given(topics, instances, st.data())
def test_handing_over_what_is_too_much_ends_with_no_more_than_an_even_share_each(held, living, data):
    holders = {topic: data.draw(st.sampled_from(living)) for topic in held}
    moves = 0
    while over := next((found for name in living if (found := Spread(frozenset(living), holders).over(name))), None):
        giver = holders.pop(over[0])
        holders[over[0]] = min(living, key=lambda name: Spread(frozenset(living), holders).place(over[0], name))
        assert holders[over[0]] != giver
        moves += 1
        assert moves <= len(held)
    assert max(Counter(holders.values()).values()) <= share(len(held), len(living))


def test_each_of_three_instances_is_first_for_its_share_of_the_topics():
    """A fact of these names and this hash: it changes only if the hash does."""
    living = ["a", "b", "c"]
    first = Counter(order(f"topic-{number}", living)[0] for number in range(300))
    assert all(80 <= first[name] <= 120 for name in living)
