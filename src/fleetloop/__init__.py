"""FleetLoop: a fleet of robots keeps learning while it works."""

__version__ = "0.1.0"
