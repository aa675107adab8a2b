"""How Alembic reaches the ledger: through the connection that `upgrade` hands it."""

from alembic import context
from sqlalchemy import Connection

from ittybatch.ledger.models import Base


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_run(context.config.attributes["connection"])
