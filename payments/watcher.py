"""Listening on the server: one asyncio process keeps a socket open for every open invoice.

What it hears goes through the same gate as a callback (`ingestion.record_report`), so a shop that
no callback can reach, behind a firewall or on a laptop, sells all the same.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
import ssl
import time
from functools import cached_property

import websockets
from channels.db import database_sync_to_async

from . import ingestion
from .models import PaymentAttempt

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
PARENT_LOOK_SECONDS = 1
FIRST_PAUSE, LONGEST_PAUSE = 1, 60
# Who was connected for so long was not turned away: the next pause is a short one again.
STEADY_SECONDS = 30
# Enough to open thousands within seconds, few enough not to be taken for an attack.
OPENING_AT_ONCE = 50
OPENING_SECONDS, CLOSING_SECONDS = 20, 2
MAX_MESSAGE_BYTES = 16_384


def pause_after(failures: int) -> float:
    """Seconds until the next attempt: longer each time, and never for all at the same moment."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.5)  # noqa: S311  only spreads load


class Watcher:
    def __init__(self, provider):
        self.provider = provider
        self.listeners: dict[str, asyncio.Task] = {}
        self.leaving: set[asyncio.Task] = set()
        self.opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self.open_sockets = 0

    async def run(self):
        """Picks up new invoices and drops settled ones, until it is cancelled."""
        failures = 0
        try:
            while True:
                try:
                    self.listen_to(await self.open_references())
                    failures, pause = 0, LOOK_SECONDS
                except Exception as error:
                    logger.error("The watcher cannot see which invoices are open: %s", error)
                    pause = min(pause_after(failures), 10)
                    failures += 1
                await asyncio.sleep(pause)
        finally:
            self.listen_to(set())
            await asyncio.gather(*self.leaving, return_exceptions=True)

    async def open_references(self) -> set[str]:
        # In a thread of its own: a payment that waits for a price must not hold up new invoices.
        look = database_sync_to_async(self.look_for_open, thread_sensitive=False)
        return await look()

    def look_for_open(self) -> set[str]:
        attempts = PaymentAttempt.objects.awaiting_payment(self.provider.slug)
        return set(attempts.values_list("reference", flat=True))

    def listen_to(self, references: set[str]):
        for reference in self.listeners.keys() - references:
            listener = self.listeners.pop(reference)
            self.leaving.add(listener)  # its socket takes a moment to close
            listener.add_done_callback(self.leaving.discard)
            listener.cancel()
        for reference in references - self.listeners.keys():
            self.listeners[reference] = asyncio.create_task(self.listen(reference))

    async def listen(self, reference: str):
        """Keeps one socket open, again and again with growing pauses and some chance in them."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self.hear(reference, await self.connect(reference))
            except (OSError, websockets.WebSocketException) as error:
                logger.debug("The socket of %s is closed: %s", reference, error)
            except Exception:
                logger.exception("The socket of %s broke; it is opened again.", reference)
            if time.monotonic() - began > STEADY_SECONDS:
                failures = 0
            await asyncio.sleep(pause_after(failures))
            failures += 1

    async def connect(self, reference: str):
        url = self.provider.socket_url(reference)
        async with self.opening:
            return await websockets.connect(
                url,
                **({"ssl": self.tls} if url.startswith("wss:") else {}),
                open_timeout=OPENING_SECONDS,
                close_timeout=CLOSING_SECONDS,
                max_size=MAX_MESSAGE_BYTES,
                compression=None,  # for messages of 150 bytes it would only cost memory
            )

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """One for all: left alone, each socket would read all certificate authorities anew."""
        return ssl.create_default_context()

    async def hear(self, reference: str, socket):
        self.open_sockets += 1
        try:
            async with socket:
                async for text in socket:
                    await self.note(reference, text)
        finally:
            self.open_sockets -= 1

    async def note(self, reference: str, text: str):
        """Brings a message into the books, trying until the database takes it."""
        report = self.provider.parse_message(reference, text)
        failures = 0
        while report:
            try:
                record = database_sync_to_async(ingestion.record_report)
                await record(self.provider, report, by="watcher")
                return
            except Exception as error:
                logger.error("A payment to %s is not noted yet: %s", reference, error)
                await asyncio.sleep(pause_after(failures))
                failures += 1


async def watch(providers: list, parent: int | None = None):
    """Watches for all these providers, until a signal comes or the parent process is gone."""
    watchers = [asyncio.create_task(Watcher(provider).run()) for provider in providers]
    watching = asyncio.gather(*watchers)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, watching.cancel)
    leaving = loop.create_task(_leave_with(parent, watching))
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    # Each closes its sockets before it ends.
    await asyncio.gather(*watchers, return_exceptions=True)
    leaving.cancel()


async def _leave_with(parent: int | None, watching: asyncio.Future):
    """Ends the watching when the process that wanted it is gone."""
    while parent in (None, os.getppid()):
        await asyncio.sleep(PARENT_LOOK_SECONDS)
    watching.cancel()
