"""A configuration as the YAML that would bring it about, with each field's meaning as a comment if wanted."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fleetloop.cli.config import SECTIONS, FleetConfig, chosen_options
from fleetloop.cli.config_errors import allowed

WIDTH = 110
LEFT_OUT = {"host"}
"""Where it says what it would by itself: the machine's own name, and a file is copied to others."""


def with_plugin_options(config: FleetConfig) -> FleetConfig:
    """The same configuration with every option of the chosen plug-ins spelt out.

    Raises:
        ConfigInvalid: naming the option at fault.
    """
    update: dict[str, Any] = {}
    for kind, section in SECTIONS.items():
        choice = getattr(config, section)
        options = chosen_options(kind, choice)
        update[section] = choice.model_copy(update={"options": options}) if options else choice
    return config.model_copy(update=update)


def to_yaml(config: FleetConfig, docs: bool) -> str:
    """What `load_config` reads back to the same configuration."""
    return "\n".join(_model(config, 0, docs)) + "\n"


def _model(model: BaseModel, depth: int, docs: bool) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if docs:
            yield from _comment(field, indent)
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _model(value, depth + 1, docs)
        elif isinstance(value, Sequence) and value and isinstance(value[0], BaseModel):
            yield f"{indent}{name}:"
            yield from (f"{indent}  - {_flow(item.model_dump(mode='json'))}" for item in value)
        else:
            plain = model.model_dump(mode="json", include={name})[name]
            default = not depth and name in LEFT_OUT and value == field.get_default(call_default_factory=True)
            yield f"{indent}{'# ' * default}{name}: {_flow(plain)}"


def _comment(field: FieldInfo, indent: str) -> Iterator[str]:
    limits = allowed(field)
    text = (field.description or "") + (f" ({limits})" if limits else "")
    for line in textwrap.wrap(text, WIDTH - len(indent)):
        yield f"{indent}# {line}"


def _flow(value: Any) -> str:
    """On one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
