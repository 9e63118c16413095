"""A demo that teaches nobody anything, for its machinery: `python tiny_demo.py DIRECTORY MINUTES [OBSERVE]`."""

import signal
import sys
from pathlib import Path

from rich.console import Console

from fleetloop.cli.demo.plan import DemoPlan
from fleetloop.cli.demo.run import run_demo
from fleetloop.cli.demo.view import PlainView
from fleetloop.cli.threads import limit_threads
from fleetloop.core.clock import Wall

if __name__ == "__main__":  # its workers import this file too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    limit_threads()
    directory, minutes, *observe = sys.argv[1:]
    plan = DemoPlan(
        Path(directory),
        ("box/walls",),
        robots=2,
        minutes=float(minutes),
        pretrain_steps=20,
        evaluation_episodes=4,
        demonstrations={"box/walls": 3},
        observe=observe[0] if observe else "state",
        encoder={"frames": 40, "sites": 2, "held_out_sites": 1, "steps": 5},
    )
    run_demo(plan, PlainView(Console(), Wall()))
