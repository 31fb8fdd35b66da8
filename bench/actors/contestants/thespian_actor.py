"""thespian with its default system base: one process, no bound; each message is handled within the sender's call."""

from datetime import timedelta
from functools import partial

from figures import Figures, Sizes, measure_sync
from thespian.actors import Actor, ActorSystem


class Counter(Actor):
    def __init__(self) -> None:
        self.count = 0

    def receiveMessage(self, message: object, sender: object) -> None:  # noqa: N802 - thespian's name
        if isinstance(message, tuple):
            self.count += 1
            if message[1]:
                self.send(sender, self.count)


def run(sizes: Sizes) -> Figures:
    system = ActorSystem("simpleSystemBase")
    counter = system.createActor(Counter)

    def tell(message: int) -> None:
        system.tell(counter, (message, False))

    ask = partial(_ask, system, counter)
    try:
        return measure_sync(tell, ask, None, sizes)
    finally:
        system.shutdown()


def _ask(system: ActorSystem, counter: object, message: int) -> int:
    count: int = system.ask(counter, (message, True), timedelta(seconds=5))
    return count
