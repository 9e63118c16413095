"""A demo that teaches nobody anything, for its machinery: `python tiny_demo.py DIRECTORY MINUTES`."""

import sys
from pathlib import Path

from rich.console import Console

from fleetloop.cli.demo.plan import DemoPlan
from fleetloop.cli.demo.run import run_demo
from fleetloop.cli.demo.view import PlainView
from fleetloop.cli.wiring import one_thread
from fleetloop.core.clock import Wall

if __name__ == "__main__":  # its workers import this file too
    one_thread()
    directory, minutes = sys.argv[1:]
    plan = DemoPlan(
        Path(directory),
        ("box/walls",),
        robots=2,
        minutes=float(minutes),
        pretrain_steps=20,
        evaluation_episodes=4,
        demonstrations={"box/walls": 3},
    )
    run_demo(plan, PlainView(Console(), Wall()))
