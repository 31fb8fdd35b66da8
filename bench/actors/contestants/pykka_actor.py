"""pykka: a thread per actor. Its inbox has no bound, so its sender never waits."""

import pykka
from figures import Figures, Sizes, measure_sync


class Counter(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: int) -> int:  # noqa: ARG002 - the work is to count
        self.count += 1
        return self.count


def run(sizes: Sizes) -> Figures:
    ref = Counter.start()

    def ask_together(number: int) -> None:
        for future in [ref.ask(0, block=False) for _ in range(number)]:
            future.get()

    try:
        return measure_sync(ref.tell, ref.ask, ask_together, sizes)
    finally:
        ref.stop()
