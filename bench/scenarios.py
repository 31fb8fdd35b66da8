"""The simulation: seeds of the swarm scenario per minute, on all CPUs of this machine, and what one of them costs."""

import os
import resource
import time

from forebay.scenarios.replay.library import scenarios
from forebay.scenarios.replay.many import Tally, verdicts

SEEDS = range(1, 41)


def main() -> None:
    """Run the seeds in one process for each CPU, and print what that took; starting the processes is part of it."""
    swarm, processes = scenarios()["swarm"], os.cpu_count() or 1
    print(f"load of the machine when it began: {os.getloadavg()[0]:.2f}")
    tally, virtual, begun = Tally(len(swarm.hosts)), 0.0, time.perf_counter()
    for verdict in verdicts(swarm, SEEDS, processes=processes):
        tally.add(verdict)
        virtual += verdict.seconds
    seconds, children = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = children.ru_utime + children.ru_stime
    print(f"{len(SEEDS)} seeds in {processes} processes: {60 * len(SEEDS) / seconds:.0f} seeds per minute")
    print(f"  {cpu / len(SEEDS):.2f} s of CPU and {virtual / len(SEEDS):.0f} s of virtual time a seed; {tally}")


if __name__ == "__main__":
    main()
