"""What happens by itself while a server runs: callbacks go out, blocks come in, the price moves.

One asyncio task per process, in the server's own loop: the in-memory channel layer reaches no
other. Several processes may each run one; claims in the database keep them apart.
"""

import asyncio
import atexit
import contextlib
import contextvars
import logging
import threading
from collections import Counter

from channels.db import database_sync_to_async
from django.utils import timezone

from sandbox import chain, conf, wakeup
from sandbox.blockonomics import callbacks, price

logger = logging.getLogger(__name__)

POLL_SECONDS = 1
PRICE_STEP_SECONDS = 5
REQUESTS_AT_ONCE = 64


def with_engine(application):
    """The ASGI application, with an engine that starts at the first call of any kind."""

    async def served(scope, receive, send):
        start()
        await application(scope, receive, send)

    return served


_running = []


def start():
    """Starts the engine of this process, unless it runs in this loop already."""
    loop = asyncio.get_running_loop()
    if _running and _running[0] is loop:
        return
    # An empty context: the first request's own thread for database work ends with that request.
    task = loop.create_task(Engine(loop).run(), context=contextvars.Context())
    _running[:] = [loop, task]
    atexit.register(end, loop, task)


def end(loop, task):
    """Lets the task finish when the server has left the loop, so that Ctrl-C prints nothing."""
    if loop.is_closed() or loop.is_running() or task.done():
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


class Engine:
    def __init__(self, loop):
        self.loop = loop
        self.wakeup = asyncio.Event()
        self.in_flight = Counter()
        self.deliveries = set()

    async def run(self):
        wakeup.register(self.loop, self.wakeup)
        await asyncio.gather(
            self.deliver_callbacks(),
            self.repeat(chain_step, POLL_SECONDS),
            self.repeat(price.move, PRICE_STEP_SECONDS),
        )

    async def deliver_callbacks(self):
        while True:
            self.wakeup.clear()
            with logged("look for due callbacks"):
                await self.start_due()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wakeup.wait(), POLL_SECONDS)

    async def start_due(self):
        if sum(self.in_flight.values()) >= REQUESTS_AT_ONCE:
            return
        for delivery in await database_sync_to_async(callbacks.claim_due)(self.in_flight):
            self.in_flight[delivery.store_id] += 1
            task = self.loop.create_task(self.deliver(delivery))
            self.deliveries.add(task)
            task.add_done_callback(self.deliveries.discard)

    async def deliver(self, delivery):
        try:
            with logged("deliver a callback"):
                call = await database_sync_to_async(callbacks.prepare)(delivery)
                answer = await in_a_thread(callbacks.send, call)
                retry_at = await database_sync_to_async(callbacks.note)(delivery, answer)
                self.ring_at(retry_at)
        finally:
            self.in_flight[delivery.store_id] -= 1
            self.wakeup.set()

    def ring_at(self, moment):
        if moment is not None:
            wait = (moment - timezone.now()).total_seconds()
            self.loop.call_later(max(0, wait), self.wakeup.set)

    async def repeat(self, step, seconds):
        while True:
            with logged(step.__name__):
                await database_sync_to_async(step)()
            await asyncio.sleep(seconds)


def chain_step():
    if conf.block_seconds():
        chain.mine_when_due(conf.block_seconds())


@contextlib.contextmanager
def logged(what):
    """A failure, such as a database that is away for a moment, must not end the engine."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RuntimeError) and "shutdown" in str(error):
            raise asyncio.CancelledError from None  # the server has ended; so does the engine
        logger.exception("The sandbox's engine could not %s", what)


async def in_a_thread(call, argument):
    """Runs it in a thread that is left behind at exit: a slow receiver must not delay Ctrl-C."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def conclude(result, error):
        if future.done():
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def work():
        result = error = None
        try:
            result = call(argument)
        except Exception as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(conclude, result, error)

    threading.Thread(target=work, name="sandbox-callback", daemon=True).start()
    return await future
