"""A configuration's file: YAML, read strictly."""

from pathlib import Path
from typing import Any

import yaml

from fleetloop.core.errors import ConfigInvalid

FILE = Path("fleet.yaml")


def read_file(path: Path | None) -> dict[str, Any]:
    """What the file says; without a path, what `fleet.yaml` says here, if it is there.

    Raises ConfigInvalid naming the file, and the line where it is no YAML.
    """
    if path is None and not FILE.exists():
        return {}
    path = path or FILE
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(str(path), f"can't be read ({error})", "give a YAML file with --config") from error
    values = parse(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigInvalid(str(path), "is no mapping of names to values", "see `fleetloop config show --docs`")
    return values


class _Strict(yaml.SafeLoader):
    """Refuses a key that comes twice: YAML's own loader would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines = dict[Any, int]()
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if isinstance(key, str) and key in lines:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key!r} stands on lines {lines[key]} and {line}: keep one, with the entries of both"
                )
            if isinstance(key, str):
                lines[key] = line
        return super().construct_mapping(node, deep)


def parse(text: str, where: str) -> Any:
    """The YAML in `text`. Raises ConfigInvalid naming `where` it stands."""
    try:
        return yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        raise ConfigInvalid(where, f"is no YAML ({' '.join(str(error).split())})") from None
