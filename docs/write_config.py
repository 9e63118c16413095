"""Writes docs/reference/config.md from the code: `python docs/write_config.py`. A test says when it is out of date."""

from importlib.metadata import entry_points
from pathlib import Path

from pydantic import BaseModel

from fleetloop.cli.config import FleetConfig
from fleetloop.cli.config_errors import allowed
from fleetloop.cli.config_text import to_yaml, with_plugin_options
from fleetloop.core.plugins import KINDS

ELSEWHERE = {"metaworld"}  # not to be imported without its extra; its own page says what it takes
PAGE = Path(__file__).parent / "reference" / "config.md"
HEAD = """\
# The configuration

<!-- Written by `python docs/write_config.py`; don't edit. -->

One file, `fleet.yaml`, for all commands. What is in force is, in this order: the defaults below, the file (that of
`--config`, else `fleet.yaml` in the directory where the command is started), `--set a.b=c`, and a command's own flags.
`fleetloop config show` prints it, `--docs` with these comments. An unknown key is refused with the nearest one that
exists; a value out of range is refused with its limits.

Times that end in `_s` are seconds of the fleet's clock, those that end in `_wall_s` real seconds.

## Everything, with its default

```yaml
"""
PLUGINS = """\
```

## Options of the plug-ins

An option of the chosen policy, algorithm, robot, operator or judge stands under `policy.options`, `algorithm.options`,
`robot.options`, `operator.options` or `judge.options`; where one robot differs, under its own `robots[].options`. The
robot `metaworld`: [gymnasium.md](../how-to/gymnasium.md).
"""


def page() -> str:
    """The text of the page as the code would have it."""
    config = with_plugin_options(FleetConfig(host="this-machine"))
    parts = [HEAD, to_yaml(config, docs=True), PLUGINS]
    for kind in KINDS:
        for point in sorted(entry_points(group=f"fleetloop.{kind}"), key=lambda item: item.name):
            if not point.value.startswith("fleetloop.") or point.name in ELSEWHERE:
                continue
            if (options := getattr(point.load(), "Options", None)) is not None:
                parts.append(_table(f"{kind}: `{point.name}`", options))
    return "".join(parts)


def _table(title: str, options: type[BaseModel]) -> str:
    lines = [f"\n### {title}\n", "| option | default | what |", "|---|---|---|"]
    for name, field in options.model_fields.items():
        limits = allowed(field)
        what = (field.description or "") + (f" ({limits})" if limits else "")
        default = "needed" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"
        lines.append(f"| `{name}` | {default} | {what} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
