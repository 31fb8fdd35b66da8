"""The `Coordination` port, sentence by sentence (R1, R2, R3, R7)."""

import asyncio

import pytest
from support.adapters import COORDINATIONS
from support.opening import serves_nobody_before_it_is_open

from forebay.backends.errors import SessionGone, Unavailable

ADAPTERS = COORDINATIONS


@pytest.fixture
def coordination(site):
    return site.port


async def hold(coordination, key="lock", ttl=10.0, lock_delay=1.0):
    session = await coordination.create_session("a", ttl, lock_delay)
    assert await coordination.acquire(key, session, b"me")
    return session


# values


async def test_a_key_that_was_never_set_is_none(coordination):
    assert await coordination.get("k") is None


async def test_a_value_is_kept_with_a_growing_index(coordination):
    await coordination.put("k", b"\x00one")
    first = await coordination.get("k")
    await coordination.put("k", b"two")
    second = await coordination.get("k")
    assert (first.key, first.value, first.session) == ("k", b"\x00one", None)
    assert second.value == b"two"
    assert second.modify_index > first.modify_index


async def test_coordination_that_is_being_opened_serves_nobody_yet(coordination):
    await serves_nobody_before_it_is_open(coordination, lambda: coordination.get("k"))


async def test_a_value_survives_a_restart(coordination, site):
    await coordination.put("k", b"v")
    before = await coordination.get("k")
    assert await (await site.reopen()).get("k") == before


async def test_the_index_grows_over_delete_and_restart(coordination, site):
    await coordination.put("k", b"v")
    seen = [(await coordination.get("k")).modify_index]
    await coordination.delete("k")
    assert await coordination.get("k") is None
    again = await site.reopen()
    for value in (b"v", b"w"):  # to put what is there already is a change on some services only
        await again.put("k", value)
        seen.append((await again.get("k")).modify_index)
    assert seen == sorted(set(seen))


async def test_deleting_a_missing_key_is_fine(coordination):
    await coordination.delete("k")


async def test_the_keys_under_a_prefix_are_listed_in_order_with_their_holders(coordination):
    """R13"""
    holder = await hold(coordination, key="in/b")
    for key in ("in/c", "in/a", "in", "inn/d", "jn/e"):
        await coordination.put(key, key.encode())
    await coordination.put("in/gone", b"")
    await coordination.delete("in/gone")
    found = await coordination.under("in/")
    assert [(entry.key, entry.value, entry.session) for entry in found] == [
        ("in/a", b"in/a", None),
        ("in/b", b"me", holder),
        ("in/c", b"in/c", None),
    ]
    assert found[1] == await coordination.get("in/b")
    assert list(await coordination.under("none/")) == []


async def test_a_key_is_listed_without_its_session_once_that_has_lapsed(coordination, site):
    """R13: who lives is told by the sessions."""
    await hold(coordination, key="in/a", ttl=site.ttl, lock_delay=0)
    await site.advance(2 * site.ttl + 0.01)
    assert [(entry.key, entry.session) for entry in await coordination.under("in/")] == [("in/a", None)]


# locks


async def test_one_session_holds_a_lock(coordination):
    holder = await hold(coordination)
    other = await coordination.create_session("b", 10, 0)
    assert not await coordination.acquire("lock", other, b"not me")
    entry = await coordination.get("lock")
    assert (entry.session, entry.value) == (holder, b"me")


async def test_each_acquisition_has_a_larger_index(coordination):
    indexes = []
    for _ in range(3):
        session = await hold(coordination)
        indexes.append((await coordination.get("lock")).modify_index)
        await coordination.release("lock", session)
    assert indexes == sorted(set(indexes))


async def test_the_index_of_a_lock_grows_when_its_key_was_deleted(coordination):
    await hold(coordination)
    before = (await coordination.get("lock")).modify_index
    await coordination.delete("lock")
    await hold(coordination)
    assert (await coordination.get("lock")).modify_index > before


async def test_the_holder_may_acquire_again(coordination):
    holder = await hold(coordination)
    assert await coordination.acquire("lock", holder, b"still me")
    assert (await coordination.get("lock")).value == b"still me"


async def test_a_released_lock_may_be_taken_at_once(coordination):
    holder = await hold(coordination, lock_delay=60)
    other = await coordination.create_session("b", 10, 0)
    assert await coordination.release("lock", holder)
    assert (await coordination.get("lock")).session is None
    assert await coordination.acquire("lock", other, b"")


async def test_only_the_holder_releases(coordination):
    holder = await hold(coordination)
    other = await coordination.create_session("b", 10, 0)
    assert not await coordination.release("lock", other)
    assert not await coordination.release("free", other)
    assert (await coordination.get("lock")).session == holder


async def test_putting_leaves_the_lock_as_it_is(coordination):
    holder = await hold(coordination)
    await coordination.put("lock", b"new")
    entry = await coordination.get("lock")
    assert (entry.value, entry.session) == (b"new", holder)


async def test_deleting_takes_the_lock_from_whoever_holds_it(coordination):
    holder = await hold(coordination)
    await coordination.delete("lock")
    assert await coordination.get("lock") is None
    assert not await coordination.release("lock", holder)


# sessions


async def test_an_unknown_session_is_gone(coordination):
    with pytest.raises(SessionGone):
        await coordination.renew_session("nobody")
    with pytest.raises(SessionGone):
        await coordination.acquire("lock", "nobody", b"")


async def test_two_sessions_of_one_name_are_two(coordination):
    one = await coordination.create_session("a", 10, 0)
    assert await coordination.create_session("a", 10, 0) != one


async def test_a_session_lives_as_long_as_it_is_renewed(coordination, site):
    holder = await hold(coordination, ttl=site.ttl)
    for _ in range(5):
        await site.advance(site.ttl * 0.6)
        await coordination.renew_session(holder)
    assert (await coordination.get("lock")).session == holder


async def test_a_session_lapses_after_at_most_twice_its_ttl(coordination, site):
    holder = await hold(coordination, ttl=site.ttl, lock_delay=0)
    await site.advance(2 * site.ttl + 0.01)
    with pytest.raises(SessionGone):
        await coordination.renew_session(holder)
    with pytest.raises(SessionGone):
        await coordination.acquire("other", holder, b"")
    assert (await coordination.get("lock")).session is None
    await hold(coordination)


async def test_a_lapsed_sessions_lock_is_free_only_after_its_lock_delay(coordination, site):
    await hold(coordination, ttl=site.ttl, lock_delay=3 * site.ttl)
    other = await coordination.create_session("b", 100, 0)
    await site.advance(2 * site.ttl + 0.01)
    assert (await coordination.get("lock")).session is None
    assert not await coordination.acquire("lock", other, b"")
    await site.advance(3 * site.ttl)
    assert await coordination.acquire("lock", other, b"")


async def test_a_destroyed_session_holds_nothing_and_its_lock_has_a_delay(coordination, site):
    holder = await hold(coordination, lock_delay=site.ttl)
    other = await coordination.create_session("b", 100, 0)
    await coordination.destroy_session(holder)
    with pytest.raises(SessionGone):
        await coordination.renew_session(holder)
    assert not await coordination.acquire("lock", other, b"")
    await site.advance(site.ttl + 0.01)
    assert await coordination.acquire("lock", other, b"")


async def test_release_then_destroy_hands_over_at_once(coordination):
    holder = await hold(coordination, lock_delay=60)
    await coordination.release("lock", holder)
    await coordination.destroy_session(holder)
    await hold(coordination)


async def test_destroying_an_absent_session_is_fine(coordination):
    session = await coordination.create_session("a", 10, 0)
    await coordination.destroy_session(session)
    await coordination.destroy_session(session)


# watch


async def test_the_first_watch_returns_at_once(coordination):
    entry, index = await coordination.watch("k", 0, 600)
    assert entry is None
    assert index > 0


async def test_a_watch_returns_when_the_key_changes(coordination):
    _, index = await coordination.watch("k", 0, 600)
    for value in (b"one", b"two"):
        watching = asyncio.create_task(coordination.watch("k", index, 600))
        await coordination.put("other", b"")
        await coordination.put("k", value)
        entry, newer = await watching
        assert entry.value == value
        assert newer == entry.modify_index > index
        index = newer


async def test_a_change_before_the_watch_is_not_missed(coordination):
    _, index = await coordination.watch("k", 0, 600)
    await coordination.put("k", b"v")
    assert (await coordination.watch("k", index, 600))[0].value == b"v"


async def test_a_watch_without_a_change_returns_after_its_wait(coordination):
    await coordination.put("k", b"v")
    entry, index = await coordination.watch("k", 0, 600)
    assert await coordination.watch("k", index, 0.05) == (entry, index)


async def test_a_watch_sees_a_deletion_and_what_comes_after(coordination):
    await coordination.put("k", b"v")
    _, index = await coordination.watch("k", 0, 600)
    await coordination.delete("k")
    entry, after = await coordination.watch("k", index, 600)
    assert entry is None
    assert after != index
    await coordination.put("k", b"w")
    assert (await coordination.watch("k", after, 600))[0].value == b"w"


async def test_a_watch_sees_locks_come_and_go(coordination):
    holder = await hold(coordination)
    entry, index = await coordination.watch("lock", 0, 600)
    assert entry.session == holder
    await coordination.release("lock", holder)
    assert (await coordination.watch("lock", index, 600))[0].session is None


async def test_a_watch_returns_when_the_holders_session_lapses(coordination, site):
    await hold(coordination, ttl=site.ttl)
    _, index = await coordination.watch("lock", 0, 600)
    watching = asyncio.create_task(coordination.watch("lock", index, 600))
    await site.advance(2 * site.ttl + 0.01)
    entry, _ = await watching
    assert entry.session is None


async def test_a_watch_ends_when_coordination_stops(coordination):
    _, index = await coordination.watch("k", 0, 600)
    watching = asyncio.create_task(coordination.watch("k", index, 600))
    await coordination.get("k")
    await coordination.stop()
    ended, _ = await asyncio.wait((watching,), timeout=30)
    assert ended
    assert isinstance(watching.exception(), Unavailable | None)


async def test_stopped_coordination_is_unavailable(coordination):
    await coordination.stop()
    with pytest.raises(Unavailable):
        await coordination.get("k")
