"""Same seed, same run of a tree: in other processes, under other hash seeds, on another heap (T1, F2)."""

import os
import subprocess
import sys
from pathlib import Path

from support.effort import examples
from support.replayed_trees import digest

TREES = examples(40, 400)


def digests(hash_seed: str, heap: int) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "support.replayed_trees", "0", str(TREES), str(heap)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=600)
    return done.stdout.split()


def test_the_same_seed_gives_the_same_trace_in_every_process():
    here = [digest(seed, seed) for seed in range(TREES)]
    assert len(set(here)) > TREES * 0.9  # the digest tells the trees apart
    assert digests("1", heap=1) == here
    assert digests("4242", heap=2) == here


def test_another_seed_gives_another_trace_of_the_same_tree():
    differing = sum(digest(tree, 0) != digest(tree, 1) for tree in range(TREES))
    assert differing > TREES * 0.1  # wherever a backoff was drawn
