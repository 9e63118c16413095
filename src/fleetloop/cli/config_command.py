"""`fleetloop config`: what is in force."""

from typing import Annotated

import typer

from fleetloop.cli import flags

EXAMPLES = flags.examples(
    "fleetloop config show --docs > fleet.yaml      start a file of your own",
    "fleetloop config show --set learner.batch=128",
)
app = typer.Typer(no_args_is_help=True, help="What is in force: defaults, file and overrides.")


@app.command(epilog=EXAMPLES)
def show(
    config: flags.Config = None,
    sets: flags.Sets = None,
    docs: Annotated[bool, typer.Option("--docs", help="Say what each entry means.")] = False,
) -> None:
    """Print the whole configuration as YAML, checked."""
    from fleetloop.cli.config import load_config
    from fleetloop.cli.config_text import to_yaml, with_plugin_options
    from fleetloop.cli.wiring import robot_kind, tasks_named

    chosen = load_config(config, sets or ())
    for tasks in (chosen.tasks, *(robot.tasks for robot in chosen.robots if robot.tasks is not None)):
        tasks_named(chosen, tasks)
    for robot in chosen.robots:
        robot_kind(chosen, robot)
    typer.echo(to_yaml(with_plugin_options(chosen), docs), nl=False)
