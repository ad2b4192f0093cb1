"""Listening on the server: one asyncio process keeps a socket open for every open invoice.

What it hears goes through the same gate as a callback (`Invoice.objects.record`), so a shop that
Blockonomics cannot reach, behind a firewall or on a laptop, sells all the same.
"""

import asyncio
import logging
import random

import websockets
from channels.db import database_sync_to_async

from .models import Invoice

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 1, 60
# Enough to open thousands within seconds, few enough not to be taken for an attack.
OPENING_AT_ONCE = 50


class Watcher:
    def __init__(self, provider):
        self.provider = provider
        self.listeners: dict[str, asyncio.Task] = {}
        self.opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self.open_sockets = 0

    async def run(self):
        """Picks up new invoices and drops settled ones, for ever."""
        try:
            while True:
                try:
                    self.listen_to(await self.open_references())
                except Exception:
                    logger.exception("The watcher cannot see which invoices are open.")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self.listen_to(set())

    @database_sync_to_async
    def open_references(self) -> set[str]:
        return set(Invoice.objects.to_watch(self.provider).values_list("reference", flat=True))

    def listen_to(self, references: set[str]):
        for reference in self.listeners.keys() - references:
            self.listeners.pop(reference).cancel()
        for reference in references - self.listeners.keys():
            self.listeners[reference] = asyncio.create_task(self.listen(reference))

    async def listen(self, reference: str):
        """Keeps one socket open, again and again with growing pauses and some chance in them."""
        failures = 0
        while True:
            try:
                async with self.opening:
                    socket = await websockets.connect(
                        self.provider.socket_url(reference), open_timeout=20, max_size=16_384
                    )
                failures = 0
                await self.hear(reference, socket)
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                logger.debug("The socket of %s is closed: %s", reference, error)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures)
            failures += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  only spreads load

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
        sighting = self.provider.read_message(reference, text)
        pause = FIRST_PAUSE
        while sighting:
            try:
                record = database_sync_to_async(Invoice.objects.record)
                await record(self.provider, sighting, by="watcher")
                return
            except Exception:
                logger.exception("A payment to %s could not be noted; trying again.", reference)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
