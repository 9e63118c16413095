"""Meta-World, five tasks at once, as real processes: demonstrations, a weak base, a fleet that learns, the figures.

    python examples/metaworld/run.py --seeds 3 --directory /tmp/metaworld --out docs/results

Needs the extra `metaworld` (it pins MuJoCo: best in an environment of its own). A seed whose figures are there is not
run again.
"""

import argparse
import json
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from fleetloop.hub.http.client import HttpHub
from fleetloop.lab.evaluation import wilson

HERE = Path(__file__).parent
SETTINGS = yaml.safe_load((HERE / "fleet.yaml").read_text())
DEMONSTRATIONS = 2  # of each task
FIRST_SEED = 2  # the settings were chosen while looking at seed 0, and seed 1 was seen before they were fixed
EVALUATION_SEED = 1000  # the same resets for every policy
STEPS = SETTINGS["learner"]["optimizer"]["total_steps"]
FLEETLOOP = [sys.executable, "-W", "ignore", "-m", "fleetloop"]
POLICIES = {
    "base": "the base: cloned from the demonstrations",
    "control": f"control: {STEPS} more steps on the demonstrations",
    "online": f"after {STEPS} steps online, HG-DAgger",
    "expert": "Meta-World's scripted experts",
}


def run_seed(seed: int, directory: Path, episodes: int) -> dict[str, Any]:
    """Everything of one seed; returns its figures, which are kept in `figures.json`."""
    kept = directory / "figures.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    directory.mkdir(parents=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    hub = {**SETTINGS["hub"], "port": port}
    (directory / "fleet.yaml").write_text(yaml.safe_dump({**SETTINGS, "seed": seed, "hub": hub}, sort_keys=False))
    began = time.time()
    # Demonstrations are steady: the fleet's arms are not, as in life.
    steady = ["--set", "robot.options.noise=0"]
    tell(directory, "demos", "record", "--episodes", str(DEMONSTRATIONS), "--seed", str(seed), *steady)
    tell(directory, "pretrain", "--seed", str(seed))
    more = str(SETTINGS["pretrain"]["steps"] + STEPS)
    tell(directory, "pretrain", "--seed", str(seed), "--steps", more, "--out", "control")
    figures = {name: measure(directory, episodes, name, "--base", name) for name in ("base", "control")}
    online_began = time.time()
    with processes(directory, ["hub"]):
        client = HttpHub(f"http://127.0.0.1:{port}")
        robots = [["actor", "--robot", entry["name"]] for entry in SETTINGS["robots"]]
        with processes(directory, ["learner"], ["courier"], *robots):
            wait_for(lambda: (learner := client.fleet().learner) is not None and learner.step >= STEPS)
            wait_for(lambda: client.fleet().edge >= STEPS // 25)
        rows = client.episodes(limit=10_000)
        online_s = time.time() - online_began
        figures["online"] = measure(directory, episodes, "online", "--release", str(client.fleet().edge))
    figures["expert"] = measure(directory, episodes, "expert", "--expert")
    facts = {
        "seed": seed,
        "figures": figures,
        "episodes_online": len(rows),
        "frames_online": sum(row["frames"] for row in rows),
        "frames_human": sum(row["frames_human"] for row in rows),
        "online_s": round(online_s),
        "wall_s": round(time.time() - began),
    }
    kept.write_text(json.dumps(facts, indent=1) + "\n")
    return facts


def measure(directory: Path, episodes: int, name: str, *which: str) -> dict[str, Any]:
    arguments = ["--episodes", str(episodes), "--seed", str(EVALUATION_SEED), "--report", f"{name}.json"]
    tell(directory, "eval", *which, *arguments)
    return dict(json.loads((directory / f"{name}.json").read_text()))


def tell(directory: Path, *arguments: str) -> None:
    print(directory.name, *arguments, flush=True)
    with (directory / "commands.log").open("a") as log:
        subprocess.run([*FLEETLOOP, *arguments], cwd=directory, stdout=log, stderr=log, check=True)


@contextmanager
def processes(directory: Path, *commands: Sequence[str]) -> Iterator[None]:
    running = []
    for command in commands:
        with (directory / f"{'-'.join(command).replace('---', '-')}.log").open("w") as log:
            running.append(subprocess.Popen([*FLEETLOOP, *command], cwd=directory, stdout=log, stderr=log))
        if command == ["hub"]:
            wait_for(lambda: "serves" in (directory / "hub.log").read_text())
    try:
        yield
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(60)


def wait_for(true: Any, limit_s: float = 1800.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("look into the logs")
        time.sleep(0.5)


def page(runs: Sequence[dict[str, Any]]) -> str:
    """The figures of all seeds together, with Wilson's 95 % intervals over all episodes."""
    noise = SETTINGS["robot"]["options"]["noise"]
    lines = [
        "# Meta-World: five tasks that we did not write",
        "",
        "<!-- Written by examples/metaworld/run.py; don't edit. -->",
        "",
        f"Three simulated Sawyer arms, HG-DAgger, {DEMONSTRATIONS} demonstrations of each task to start from, "
        f"{STEPS} learner steps online. Seeds: {len(runs)}, with {_each(runs)} evaluation episodes of each task, on "
        "the same resets for every policy and seed; the intervals (Wilson, 95 %) are over all episodes. The fleet's "
        f"and the evaluation's arms are unsteady (noise {noise} of an action's limits), the demonstrations are not. "
        "**Privileged:** the operator is Meta-World's scripted expert, whose gate and actions read the true state, and "
        "success is Meta-World's own rule. The policy sees Meta-World's own 39 numbers and the task's name.",
        "",
        "| task | " + " | ".join(POLICIES.values()) + " |",
        "|---|" + "---|" * len(POLICIES),
    ]
    lines += [
        f"| {task} | " + " | ".join(_rate(runs, name, [task]) for name in POLICIES) + " |" for task in SETTINGS["tasks"]
    ]
    lines.append("| **all** | " + " | ".join(f"**{_rate(runs, name, SETTINGS['tasks'])}**" for name in POLICIES) + " |")
    lines += ["", "By seed: " + "; ".join(_by_seed(facts) for facts in runs) + ".", ""]
    before, after, best = (_total(runs, name, SETTINGS["tasks"])[2] for name in ("base", "online", "expert"))
    if any(facts["seed"] < FIRST_SEED for facts in runs):
        lines += [
            "The settings were chosen while looking at seed 0, after a first attempt (3 demonstrations, 2,000 steps, a "
            "gate half as strict) had gone from .52 to .70: its figures flatter them. Later seeds are untouched.",
            "",
        ]
    lines += [f"Of the gap to the experts {(after - before) / (best - before):.2f} is closed.", ""]
    lines += [
        f"Run again: `{again(runs)}`. Configuration: `examples/metaworld/fleet.yaml`.",
        "",
    ]
    return "\n".join(lines)


def again(runs: Sequence[dict[str, Any]]) -> str:
    """The command that makes these runs."""
    first = f" --first-seed {runs[0]['seed']}" if runs[0]["seed"] != FIRST_SEED else ""
    return f"python examples/metaworld/run.py --seeds {len(runs)}{first} --episodes {_each(runs)}"


def _each(runs: Sequence[dict[str, Any]]) -> int:
    return int(runs[0]["figures"]["base"]["tasks"][SETTINGS["tasks"][0]]["episodes"])


def _total(runs: Sequence[dict[str, Any]], name: str, tasks: Sequence[str]) -> tuple[int, int, float]:
    scores = [facts["figures"][name]["tasks"][task] for facts in runs for task in tasks]
    successes, episodes = sum(item["successes"] for item in scores), sum(item["episodes"] for item in scores)
    return successes, episodes, successes / episodes


def _rate(runs: Sequence[dict[str, Any]], name: str, tasks: Sequence[str]) -> str:
    successes, episodes, rate = _total(runs, name, tasks)
    low, high = wilson(successes, episodes)
    return f"{rate:.2f} ({low:.2f}–{high:.2f})"


def _by_seed(facts: dict[str, Any]) -> str:
    base, online = (facts["figures"][name]["average"] for name in ("base", "online"))
    human = facts["frames_human"] / facts["frames_online"]
    return (
        f"seed {facts['seed']} {base:.2f} → {online:.2f} ({facts['episodes_online']} episodes online, {human:.0%} of "
        f"their frames driven by the operator; {facts['wall_s'] / 60:.0f} minutes with all evaluations)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--episodes", type=int, default=50, help="evaluation episodes of each task and figure")
    parser.add_argument("--directory", type=Path, default=Path("metaworld"), help="where everything is run and kept")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "docs" / "results")
    said = parser.parse_args()
    directory = said.directory.absolute()
    runs = [
        run_seed(seed, directory / f"seed-{seed}", said.episodes)
        for seed in range(said.first_seed, said.first_seed + said.seeds)
    ]
    packages = ("fleetloop", "metaworld", "mujoco", "gymnasium", "torch", "numpy")
    facts = {
        "command": again(runs),
        "settings": SETTINGS,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "runs": runs,
    }
    (said.out / "metaworld.json").write_text(json.dumps(facts, indent=1) + "\n")
    (said.out / "metaworld.md").write_text(page(runs))


if __name__ == "__main__":
    main()
