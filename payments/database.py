"""Being a good neighbour in the database's pool."""

from django.db import connections


def release():
    """Gives this thread's connection back, for whoever only waits or talks to others.

    Else a dozen shoppers who wait for a slow payment service would hold all of the pool. Inside a
    transaction it stays; no code of ours waits there, only a test's own.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
