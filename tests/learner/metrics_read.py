"""What a learner wrote of itself."""

import json
from pathlib import Path
from typing import Any


def rows(directory: Path, kind: str = "step") -> list[dict[str, Any]]:
    """Of one kind."""
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]
