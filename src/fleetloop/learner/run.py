"""The learner as a process: its threads, its signals, and what happens when one of them fails.

The main thread trains. Beside it one thread fetches experience, one gathers the next batch, one publishes and reports,
one makes the next label version, one writes checkpoints.
An exception in any of them stops the learner, and `run` raises it.
"""

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import TypeAlias

import torch

from fleetloop.core.algorithm import Algorithm
from fleetloop.core.clock import Clock, Wall
from fleetloop.core.disk import alone
from fleetloop.core.episode import Episode
from fleetloop.core.errors import FleetLoopError, HubUnavailable, LeaseLost
from fleetloop.core.hub import Hub
from fleetloop.learner.assemble import Surroundings, assemble
from fleetloop.learner.base import Base
from fleetloop.learner.checkpoint import Checkpoint, latest, save, set_back
from fleetloop.learner.held_out import unmeasured
from fleetloop.learner.journal import Journal, Say
from fleetloop.learner.loader import Ahead
from fleetloop.learner.loop import Learner
from fleetloop.learner.options import LearnerOptions
from fleetloop.learner.restart import catch_up, restore

Start: TypeAlias = Callable[[], tuple[Base, Algorithm]]
"""Reads the base and makes the algorithm, both as if nothing had been learnt."""
POLL_S = 0.5  # real seconds that a thread waits before it looks whether it is to stop
LOCK = "learner.lock"
PAUSE_S = 0.5  # real seconds between two tries while the hub is away
SWITCH_S = (
    1e-4  # after so long another thread gives the interpreter back; Python's own 5 ms cost more than 1 % of training
)


def run(
    name: str,
    options: LearnerOptions,
    start: Start,
    around: Surroundings,
    *,
    demonstrations: Sequence[Episode] = (),
    from_release: int | None = None,
    begins_anew: bool = False,
    stop: threading.Event | None = None,
    say: Say = lambda line: None,
) -> Learner:
    """Learn until SIGTERM, SIGINT or `stop`; go on from the newest checkpoint if the directory holds one.

    With `from_release` from the newest one that is no later than that release; later ones are put aside. So it does
    when the hub tells it to. `start` is called at the beginning, and again for each time that it goes back.

    Where the directory holds none but the hub has releases, it stops, unless it `begins_anew`.

    Waits for a hub that is away, and says so. Returns the stopped learner, its last checkpoint written.

    Raises:
        LeaseLost: another learner holds the lease, or has taken over. HubRefused: robots would fall back to the base.
        CheckpointInvalid: there is no checkpoint to go on from, or none that is early enough.
        DiskTrouble: another learner works in this directory, or it can't be written.
        FleetLoopError: whatever else stopped it; the hub is told as an alarm if it can be reached.
    """
    torch.set_num_threads(options.threads)
    sys.setswitchinterval(SWITCH_S)
    ready, directory = start(), around.directory  # what is wrong with it is said before anything is made
    around.disk.make(directory)
    remedy = "stop that one, or choose another directory"
    with alone(directory / LOCK, str(directory), "another learner works in this directory", remedy):
        if from_release is not None:
            set_back(around.disk, around.checkpoints, from_release)
        stop = stop or threading.Event()
        while True:
            learner = _learn(
                name,
                options,
                *ready,
                around,
                demonstrations=demonstrations,
                begins_anew=begins_anew,
                stop=stop,
                say=say,
            )
            if stop.is_set():
                return learner
            del learner, ready  # it goes back, and neither memory nor disk may have room for two
            gc.collect()
            ready = start()


def _learn(
    name: str,
    options: LearnerOptions,
    base: Base,
    algorithm: Algorithm,
    around: Surroundings,
    *,
    demonstrations: Sequence[Episode],
    begins_anew: bool,
    stop: threading.Event,
    say: Say,
) -> Learner:
    """Returns once `stop` is set, or the checkpoints are put aside from which the hub does not want it to go on."""
    checkpoint = latest(around.checkpoints)
    learner = assemble(
        name,
        options,
        base,
        algorithm,
        around,
        demonstrations=demonstrations,
        checkpoint=checkpoint,
        begins_anew=begins_anew,
    )
    journal = Journal(say)
    with _signals(stop):
        if checkpoint is None:
            learner.parts.metrics.rewind(-1)
        else:
            _go_on_from(learner, checkpoint, stop, journal)
        if not stop.is_set():
            journal.begins(name, learner.steps, learner.release, len(demonstrations))
            if options.held_out and (tasks := unmeasured(learner.parts.buffer)):
                journal.measures_nothing_of(tasks)
            _run_threads(learner, around, stop, journal)
            _leave(learner, around, journal)
    learner.parts.metrics.close()
    return learner


def _leave(learner: Learner, around: Surroundings, journal: Journal) -> None:
    """Keep what was learnt, unless it is not wanted."""
    if orders := learner.parts.recall.due():
        journal.goes_back(orders.back_to)
        learner.parts.recall.obey(orders)
        return
    learner.note_published()
    save(around.disk, around.checkpoints, learner.checkpoint(), learner.options.keep_checkpoints)


def _go_on_from(learner: Learner, checkpoint: Checkpoint, stop: threading.Event, journal: Journal) -> None:
    while not stop.is_set():
        try:
            catch_up(learner, checkpoint)
            break
        except HubUnavailable as error:
            journal.waits(error)
            stop.wait(PAUSE_S)
    else:
        return
    journal.hub_is_there()
    restore(learner, checkpoint)
    before, now = checkpoint.algorithm_name, learner.parts.algorithm.name
    if before != now:
        journal.changed_algorithm(before, now)


def _run_threads(learner: Learner, around: Surroundings, stop: threading.Event, journal: Journal) -> None:
    """Learn until `stop`, until a thread fails, or until the hub wants the learner to go back."""
    ended = threading.Event()
    failures: list[BaseException] = []
    ahead = Ahead(learner.parts.buffer)
    learner.parts = replace(learner.parts, loader=ahead)
    threads = [
        _thread("learner-feed", _feed(learner, ended, journal), ended, failures),
        _thread("learner-gather", lambda: ahead.work(POLL_S), ended, failures),
        _thread("learner-publish", _publish(learner, around.clock, ended), ended, failures),
        _thread("learner-labels", _make_labels(learner, ended), ended, failures),
        _thread("learner-checkpoint", _keep(learner, journal), ended, failures),
    ]
    try:
        _train(learner, around.clock, lambda: stop.is_set() or ended.is_set())
    except BaseException as error:  # noqa: BLE001  raised below, once the threads have ended
        failures.insert(0, error)
    ended.set()
    for thread in threads:
        thread.join()
    if failures:
        _sound_alarm(learner, around.hub, failures[0])
        raise failures[0]


def _train(learner: Learner, clock: Clock, is_over: Callable[[], bool]) -> None:
    while not is_over() and not learner.parts.recall.due():
        now = clock.now()
        due = learner.step(now)
        if due > now:
            clock.sleep_until(due)


def _feed(learner: Learner, stop: threading.Event, journal: Journal) -> Callable[[], None]:
    feeder, wall = learner.parts.feeder, Wall()

    def feed() -> None:
        journal.progress(
            wall.now(),
            step=learner.steps,
            release=learner.release,
            episodes=len(learner.parts.buffer.episodes),
            parked=learner.parked,
        )
        if feeder.full:
            stop.wait(PAUSE_S)
            return
        try:
            feeder.pull(POLL_S)
            journal.hub_is_there()
        except HubUnavailable as error:
            journal.hub_is_away(error)
            stop.wait(PAUSE_S)

    return feed


def _make_labels(learner: Learner, stop: threading.Event) -> Callable[[], None]:
    def make() -> None:
        try:
            idle = not learner.work()
        except HubUnavailable:  # whoever feeds says so
            idle = True
        if idle:
            stop.wait(PAUSE_S)

    return make


def _publish(learner: Learner, clock: Clock, stop: threading.Event) -> Callable[[], None]:
    publisher = learner.parts.publisher

    def publish() -> None:
        publisher.work(clock.now(), POLL_S)
        if publisher.alarm:
            stop.wait(PAUSE_S)

    return publish


def _keep(learner: Learner, journal: Journal) -> Callable[[], None]:
    wall, every_s = Wall(), learner.options.checkpoint_every_s

    def keep() -> None:
        began = wall.now()
        if learner.parts.checkpoints.work(POLL_S):
            journal.checkpointed(wall.now() - began - POLL_S, every_s)

    return keep


def _thread(
    name: str, work: Callable[[], None], stop: threading.Event, failures: list[BaseException]
) -> threading.Thread:
    """Repeat `work` until `stop`; its exception stops everything and is kept for the main thread to raise."""

    def body() -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:  # noqa: BLE001  the main thread raises it
            failures.append(error)
            stop.set()

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread


def _sound_alarm(learner: Learner, hub: Hub, failure: BaseException) -> None:
    if isinstance(failure, LeaseLost):
        return  # the hub knows one learner, and that is the other one, which is well
    try:
        hub.report_learner(replace(learner.status(), alarm=f"the learner has stopped: {failure}"))
    except FleetLoopError:
        return  # the failure itself is raised next; a hub that can't be reached learns of it by the silence


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`, where signals can be handled at all: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
