"""What is wrong with a component right now, kept by part, for the status that the fleet view shows."""

import logging
import threading

from fleetloop.core.text import tellable

log = logging.getLogger(__name__)


class Alarms:
    """One line per part of a component. Any thread may set and clear; a new line is logged once."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}
        self._lock = threading.Lock()

    def set(self, part: str, line: str) -> None:
        line = tellable(line)
        with self._lock:
            known = self._lines.get(part)
            self._lines[part] = line
        if known != line:
            log.error("%s: %s", part, line)

    def clear(self, part: str) -> None:
        with self._lock:
            known = self._lines.pop(part, None)
        if known is not None:
            log.info("%s: all right again", part)

    @property
    def text(self) -> str:
        """All that is wrong, in one line; empty if nothing is."""
        with self._lock:
            return "; ".join(f"{part}: {line}" for part, line in sorted(self._lines.items()))
