"""The errors that FleetLoop raises on purpose. Each names what is at fault and says what to do."""

from typing import Any

DEBUG = "FLEETLOOP_DEBUG"
"""The environment variable by which whoever prints an error shows its traceback, too."""


class FleetLoopError(Exception):
    """Base of every typed error. Its text is one line, fit to be shown to a person.

    Attributes:
        field: the field, file or name at fault.
        problem: what is wrong with it.
        remedy: what to do; may be empty.
    """

    def __init__(self, field: str, problem: str, remedy: str = "") -> None:
        self.field, self.problem, self.remedy = field, problem, remedy
        super().__init__(f"{field}: {problem}" + (f"; {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        """So that an error raised in a worker process arrives as it was, whatever its class's constructor asks for."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[FleetLoopError], args: tuple[Any, ...], state: dict[str, Any]) -> FleetLoopError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class EpisodeInvalid(FleetLoopError):
    """An episode file or its metadata breaks the format."""


class SpecMismatch(FleetLoopError):
    """A robot does not offer what a policy needs; the text shows both sides."""


class ReleaseInvalid(FleetLoopError):
    """A release's manifest, blob or hash is not what it claims to be."""


class ConfigInvalid(FleetLoopError):
    """A configuration value is unknown or out of range."""


class UnknownName(FleetLoopError):
    """No task, algorithm, policy, … goes by this name; the remedy lists the known ones."""


class PluginBroken(FleetLoopError):
    """A plug-in is installed and can't be used: its module can't be imported, or it breaks its contract."""


class HubRefused(FleetLoopError):
    """The hub understood the request and said no (HTTP 4xx). Trying again without a change is useless.

    Attributes:
        status: the HTTP status, e.g. 409 for a conflict.
    """

    def __init__(self, field: str, problem: str, remedy: str = "", status: int = 400) -> None:
        super().__init__(field, problem, remedy)
        self.status = status


class HubUnavailable(FleetLoopError):
    """The hub can't be reached or can't serve now. Try again later."""


class HubFailed(HubUnavailable):
    """The hub came upon a fault of its own over this request (HTTP 500); it may serve others."""


class NotTheHub(HubUnavailable):
    """Something else has answered in the hub's place: a proxy, a network's log-in page."""


class GaveWay(FleetLoopError):
    """A transfer has stopped for something more urgent. Begun again, it goes on where it stopped."""


class LeaseLost(HubRefused):
    """Somebody else holds the learner's lease: it is claimed while theirs runs, or used under a stale fence."""


class DiskTrouble(FleetLoopError):
    """A directory can't be written, or a disk is full."""


class DiskFull(DiskTrouble):
    """It has no room for more: what can be done without may make some."""


class RobotTrouble(FleetLoopError):
    """A robot can't be reset, observed or moved at the moment; the next reset may mend it."""


class SystemMissing(FleetLoopError):
    """Something that the machine must provide (GL, a terminal, a port) is not there."""
