"""Nudging open invoice pages: "look again", and nothing more."""

import logging
import time

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)


def group_name(key: str) -> str:
    return f"invoice.{key}"


def announce(invoice) -> None:
    """Nudges every open page of the invoice. A lost nudge costs little: the pages also ask."""
    try:
        async_to_sync(get_channel_layer().group_send)(
            group_name(invoice.key), {"type": "invoice.changed"}
        )
    except Exception:  # whatever ails the channel layer, the money is in the books
        logger.exception("Could not nudge the open pages of order %s.", invoice)


def announce_after_commit(invoice) -> None:
    """Nudges them when what has changed can be read."""
    transaction.on_commit(lambda: announce(invoice))


class MemoryChannelLayer(InMemoryChannelLayer):
    """The in-memory layer, sweeping expired messages once in a while instead of at every send.

    The sweep walks every channel: with 5,000 open pages each send would stall for seconds.
    """

    SECONDS_BETWEEN_SWEEPS = 30
    _swept_at = 0.0

    def _clean_expired(self):
        if time.monotonic() - self._swept_at > self.SECONDS_BETWEEN_SWEEPS:
            self._swept_at = time.monotonic()
            super()._clean_expired()
