"""Children whose restart is planned: starts that fail for a while, and what a tree shows of them."""

from forebay import Backoff, Intensity, RestartScheduled

OFTEN = Intensity(100, 100_000.0)
SLOW = Backoff(50.0, 50.0)


class Failing:
    """A start that fails while `times` is over 0."""

    def __init__(self, times=0):
        self.times = times

    def __call__(self, ctx):
        self.times -= 1
        if self.times >= 0:
            raise ValueError("not yet")


def states(runtime):
    """What each place of the tree is doing, by path."""
    return {node.path: node.state.value for node in runtime.tree().walk() if node.path != "/"}


def waiting(path):
    """Whether an event says that the restart of this child is some time away."""
    return lambda event: isinstance(event, RestartScheduled) and event.path == path and event.delay > 0
