"""Paths, refs and nodes: what names a place of the tree, and what is remembered of one (A6, D8)."""

import json
from random import Random

import pytest
from support.puppets import puppet, running, virtual

from forebay import MailboxSpec
from forebay.actors import system as system_module
from forebay.actors.snapshot import from_plain, to_plain
from forebay.actors.system import System
from forebay.scenarios.clock import VirtualClock


def a_system():
    return System(VirtualClock(lambda: 0.0), Random)


@virtual
async def test_refs_of_one_path_are_equal_and_stand_for_each_other_in_a_set():
    async with running(puppet("a"), puppet("b")) as runtime, running(puppet("a")) as other:
        assert {runtime.ref("/a"), runtime.ref("/a"), runtime.ref("/b")} == {runtime.ref("/a"), runtime.ref("/b")}
        assert runtime.ref("/a") != other.ref("/a")
        assert repr(runtime.ref("/a")) == "Ref(/a)"


@virtual
async def test_a_tree_can_be_sent_as_json_and_read_again():
    async with running(puppet("a"), puppet("b")) as runtime:
        tree = runtime.tree()
        assert from_plain(json.loads(json.dumps(to_plain(tree)))) == tree
        assert [node.name for node in tree.walk()] == ["/", "a", "b"]


@virtual
async def test_a_path_has_one_actor():
    system = a_system()
    system.add("/a", MailboxSpec())
    with pytest.raises(ValueError, match="there is an actor at /a already"):
        system.add("/a", MailboxSpec())


def test_the_incarnations_of_removed_paths_are_remembered_the_latest_of_them(monkeypatch):
    monkeypatch.setattr(system_module, "FORGOTTEN_KEPT", 2)
    system = a_system()
    for number, path in enumerate(("/a", "/b", "/c"), start=1):
        system.remember(path, number)
    assert [system.recall(path) for path in ("/a", "/b", "/c")] == [0, 2, 3]
    assert system.recall("/c") == 0  # who stands there now counts on
