"""From an older layout of the catalog to this version's, by alembic: all of it or nothing, in one transaction.

A change of `schema.py` goes with a new file in `versions/`, whose revision becomes `schema.LAYOUT`. A migration names
the tables as they were then; it must not import the schema, which goes on changing.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from fleetloop.hub.catalog.database import Place, layout_of, open_engine, other_layout, usable
from fleetloop.hub.catalog.schema import LAYOUT

if TYPE_CHECKING:
    from alembic.config import Config


def bring_up_to_date(place: Place) -> str | None:
    """Migrate the catalog if it is older than this version; returns the layout that it had, None if it was not.

    No other process may have it open. A catalog that is not there yet is left to `Catalog`.

    Raises:
        DiskTrouble: if it is newer than this version, or can't be read.
    """
    if isinstance(place, Path) and not place.exists():
        return None
    engine = open_engine(place)
    try:
        with usable(place), engine.execution_options(begin="BEGIN IMMEDIATE").begin() as connection:
            found = layout_of(connection)
            if found in (None, LAYOUT):
                return None
            if found not in older_layouts():
                raise other_layout(place, found, "use the FleetLoop that wrote it, or a newer one")
            _migrate(connection, found)
            return found
    finally:
        engine.dispose()


def older_layouts() -> list[str]:
    """From which there is a way to this version's."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(configured())
    return [script.revision for script in scripts.walk_revisions() if script.revision != LAYOUT]


def configured(connection: sa.Connection | None = None) -> "Config":
    """What alembic goes by; it works on `connection`, within the transaction that runs there."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def _migrate(connection: sa.Connection, found: str) -> None:
    from alembic import command

    config = configured(connection)
    command.stamp(config, found)
    command.upgrade(config, LAYOUT)
