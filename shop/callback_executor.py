"""A few lasting threads for the requests that come in crowds.

Under ASGI, Django runs each request in a thread of its own that ends with it. When a block is
found, callbacks come by the dozen; then dozens of threads fight for SQLite's one place to write,
where whoever loses sleeps for longer and longer. Here they queue instead, first come, first served,
and neither thread nor connection need be made for each.

Only the callbacks are served so. A purchase waits for Blockonomics, and in the demo that is this
very process: were both to share the few threads, purchases could hold them all while each waits for
an answer that then nobody is left to give.
"""

import asyncio
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from asgiref.sync import ThreadSensitiveContext
from django.db import connection

THREADS = 4
# A callback that takes longer waits for others (for a late payment's market rate, say), not for
# the database: it no longer holds up the next one.
PATIENCE_SECONDS = 0.25
# What was begun may be brought to its end for so long after the server's.
LAST_SECONDS = 5


class CallbackExecutor:
    """Runs the requests whose path begins so in a few lasting threads, all others as ever."""

    def __init__(self, application, prefix: str):
        self.application, self.prefix = application, prefix
        # Each has one thread: what belongs to one request must run in one thread.
        self.executors = [
            ThreadPoolExecutor(1, f"callbacks-{number}", initializer=keep_connection)
            for number in range(THREADS)
        ]
        self.busy = Counter()
        self.turns = asyncio.Semaphore(1 if connection.vendor == "sqlite" else THREADS)

    async def __call__(self, scope, receive, send):
        if not scope["path"].startswith(self.prefix):
            return await self.application(scope, receive, send)
        with ExitStack() as turn:
            await self.turns.acquire()
            turn.callback(self.turns.release)
            patience = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, turn.close)
            executor = min(self.executors, key=self.busy.__getitem__)
            self.busy[executor] += 1
            try:
                async with ThreadSensitiveContext(executor=executor):
                    await self.application(scope, receive, send)
            finally:
                self.busy[executor] -= 1
                patience.cancel()


def keep_connection():
    """Keeps this thread's connection between requests; PostgreSQL's are kept by the pool."""
    if connection.vendor == "sqlite":
        connection.settings_dict = {**connection.settings_dict, "CONN_MAX_AGE": None}


def end_in_time():
    """Ends the process soon after its server, whatever still waits.

    A request that is cut off may have a thread which waits for the event loop; the loop has ended,
    and Python would wait for the thread for ever.
    """
    from twisted.internet import reactor

    def begin():
        end = threading.Timer(LAST_SECONDS, os._exit, [0])
        end.daemon = True
        end.start()

    reactor.addSystemEventTrigger("after", "shutdown", begin)
