"""The rendezvous order of instances: what it must hold for any names (R13)."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from forebay.actors.relay.ranking import rank

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


def test_each_of_three_instances_is_first_for_its_share_of_the_topics():
    """A fact of these names and this hash: it changes only if the hash does."""
    living = ["a", "b", "c"]
    first = Counter(order(f"topic-{number}", living)[0] for number in range(300))
    assert all(80 <= first[name] <= 120 for name in living)
