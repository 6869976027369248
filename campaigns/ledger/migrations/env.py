"""Alembic's entry point: runs the migrations on the connection that it is handed."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True)
# The caller holds the transaction, and the lock that keeps a second process from migrating too.
context.run_migrations()
