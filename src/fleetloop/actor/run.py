"""The process edge of an actor: its clock, its threads, its signals."""

import gc
import logging
import signal
import sys
import threading
from contextlib import AbstractContextManager

from fleetloop.actor.actor import Actor
from fleetloop.actor.clerk import Clerk
from fleetloop.actor.inference import ThreadInference
from fleetloop.actor.journal import Journal
from fleetloop.actor.loader import Loader, LoadPolicy
from fleetloop.actor.options import ActorOptions
from fleetloop.actor.plan import Assignment
from fleetloop.actor.recorder import Recorder
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock, Wall
from fleetloop.core.disk import Disk, alone
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Registration
from fleetloop.core.judge import Judge
from fleetloop.core.operator import Operator
from fleetloop.core.robot import Robot
from fleetloop.core.thread import LoudThread
from fleetloop.weights.signature import ANYBODYS, Trust

log = logging.getLogger(__name__)

# Seconds for which one Python thread may keep the others waiting. The default of 5 ms would be felt at every tick.
SWITCH_INTERVAL_S = 0.0001
# Seconds after which an idle thread, or a loop with nothing due, looks whether it is to end.
LOOK_UP_S = 0.2
# Clock seconds between two full garbage collections while no episode runs; there is one after each episode.
TIDY_S = 60.0
NEVER = 2**31 - 1
# Real seconds that each thread is given to end in order.
LAST_WORDS_WALL_S = 10.0


def sole_driver(host: HostDirectory, robot: str) -> AbstractContextManager[None]:
    """Be the one actor on this host that drives a robot of this name: to be entered before its hardware is touched.

    Raises DiskTrouble on entry if another one does.
    """
    remedy = "stop that one, or choose another name"
    return alone(host.mail / f"{robot}.lock", f"robot {robot}", "another actor on this host drives it", remedy)


def run_actor(
    assignment: Assignment,
    robot: Robot,
    operator: Operator,
    judge: Judge,
    *,
    host: HostDirectory,
    disk: Disk,
    clock: Clock,
    load_policy: LoadPolicy,
    options: ActorOptions,
    trust: Trust = ANYBODYS,
) -> None:
    """Drive one robot until SIGTERM, SIGINT or SIGHUP, which end the running episode as aborted.

    It drives by releases alone that `trust` takes. To be called in the main thread, within `sole_driver`; closing the
    robot is the caller's. Raises what any of the actor's parts raised, after the running episode was ended.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    alarms, inference = Alarms(), ThreadInference(clock)
    recorder = Recorder(disk, host.spool, options.recorder, alarms)
    actor = Actor(
        assignment,
        robot,
        operator=operator,
        judge=judge,
        inference=inference,
        recorder=recorder,
        clock=clock,
        options=options,
        alarms=alarms,
    )
    name, condition = assignment.robot, options.condition
    loader = Loader(host, name, robot.spec, load_policy, clock, condition=condition, alarms=alarms, trust=trust)
    clerk = Clerk(actor, loader, host, _registration(assignment, robot), alarms)
    ended, bell = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())

    def infer() -> None:
        while not ended.is_set():
            inference.work(LOOK_UP_S)

    def keep() -> None:
        _keep(actor, recorder, clerk, clock=clock, options=options, ended=ended, bell=bell)

    threads = [LoudThread("inference", infer, ended), LoudThread("clerk", keep, ended)]
    for thread in threads:
        thread.start()
    try:
        _loop(actor, clock, ended, bell)
    except Exception as error:
        alarms.set("actor", f"stopped: {error}")
        raise
    finally:
        actor.stop()
        ended.set()
        bell.set()
        for thread in threads:
            thread.settle(LAST_WORDS_WALL_S)
    loader.close()  # reached where nothing was raised


def _loop(actor: Actor, clock: Clock, ended: threading.Event, bell: threading.Event) -> None:
    # A full collection stops all threads for 0.1 s and more, with torch for 0.3 s: ticks missed in mid-motion.
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], NEVER)
    tidy_due = clock.now()
    while not ended.is_set():
        if clock.now() >= actor.due:
            actor.step(clock.now())
        if actor.running:
            tidy_due = clock.now()
        elif clock.now() >= tidy_due:
            gc.collect()
            tidy_due = clock.now() + TIDY_S
        if actor.wants_release:
            bell.set()
        clock.sleep_until(min(actor.due, clock.now() + LOOK_UP_S))


def _keep(
    actor: Actor,
    recorder: Recorder,
    clerk: Clerk,
    *,
    clock: Clock,
    options: ActorOptions,
    ended: threading.Event,
    bell: threading.Event,
) -> None:
    wall, journal = Wall(), Journal()
    mail_due = wall.now()
    while not ended.is_set():
        recorder.step(clock.now())
        clerk.load()
        clerk.hear()
        actor.look_for_the_hub(wall.now())
        if clerk.urgent or wall.now() >= mail_due:
            clerk.exchange_mail()
            mail_due = wall.now() + options.mail_wall_s
            journal.note(actor.status(), wall.now())
        bell.wait(options.record_wall_s)
        bell.clear()
    while actor.status().phase != "stopped":
        bell.wait(LOOK_UP_S)
    recorder.step(clock.now())
    clerk.exchange_mail()


def _registration(assignment: Assignment, robot: Robot) -> Registration:
    tasks = tuple(task.id for task in assignment.tasks)
    return Registration(assignment.robot, assignment.host, assignment.site, tasks, robot.spec)
