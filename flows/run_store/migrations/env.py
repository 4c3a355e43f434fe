"""How alembic runs our migrations: on the connection that `flows.run_store.database` hands over, in its transaction."""

from alembic import context

from flows.run_store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
