"""`fleetloop plugins`: what is installed, and whether it can be used."""

from fleetloop.cli import flags

EXAMPLES = flags.examples(
    "fleetloop plugins",
    "fleetloop check robot sim                  is it what a robot must be?",
)


def plugins() -> None:
    """List the installed algorithms, policies, robots, operators and judges; one that can't be imported says why."""
    from rich.text import Text

    from fleetloop.cli import tables
    from fleetloop.core.plugins import installed

    rows = tables.table("kind", "name", "from", "state", title="plug-ins")
    for found in installed():
        state = Text(found.error, "red") if found.error else "ok"
        rows.add_row(found.kind, found.name, found.origin, state)
    tables.show(rows)
