"""Which release robots are to run, beside the channels."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "steering", sa.Column("name", sa.Text, primary_key=True), sa.Column("data", sa.JSON, nullable=False)
    )
