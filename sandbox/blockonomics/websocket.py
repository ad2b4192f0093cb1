"""The payment WebSocket: /payment/<addr> tells of the newest transaction of one address."""

import hashlib
import json
import logging
import re
from urllib.parse import parse_qs

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer

from sandbox.keys import is_payable, tidy_address
from sandbox.models import Settings, Transaction

logger = logging.getLogger(__name__)

UNIX_SECOND = re.compile("[0-9]{1,12}")
EXPIRED = "Invoice expired (Expiry time is 7 days)"


def group_of(address):
    """The name of the address' group. An address from a URL may hold letters no group may have."""
    return "sandbox.payment." + hashlib.sha256(tidy_address(address).encode()).hexdigest()


def message_about(payment, address, status):
    """What the layer carries; `number` grows with every transaction and is not shown outside."""
    return {
        "type": "payment.seen",
        "number": payment.pk,
        "frame": {
            "status": status,
            "timestamp": int(payment.seen_at.timestamp()),
            "value": payment.value_to(address),
            "txid": payment.txid,
        },
    }


def send(address, message):
    """Tells every open socket of the address. A layer that fails costs a frame, not the payment."""
    try:
        async_to_sync(get_channel_layer().group_send)(group_of(address), message)
    except Exception:
        logger.exception("The channel layer took no message about a payment")


def since(scope):
    """The unix second before which nothing is told: ?timestamp=…, or 0 if that is none."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    text = query.get("timestamp", [""])[0]
    return int(text) if UNIX_SECOND.fullmatch(text) else 0


class PaymentConsumer(AsyncWebsocketConsumer):
    """Follows one address; of its transactions only the most recent."""

    following = 0

    async def connect(self):
        settings = await self.settings()
        if settings.websocket == Settings.WebSocket.REFUSE:
            await self.close()
            return
        self.since = since(self.scope)
        self.address = tidy_address(self.scope["url_route"]["kwargs"]["address"])
        await self.channel_layer.group_add(group_of(self.address), self.channel_name)
        await self.accept(next(iter(self.scope["subprotocols"]), None))
        if settings.websocket == Settings.WebSocket.ERROR_MSG:
            await self.send(json.dumps({"error_msg": EXPIRED}))
            return
        newest = await self.newest()
        if newest:
            await self.payment_seen(newest)

    async def disconnect(self, code):
        if hasattr(self, "address"):
            await self.channel_layer.group_discard(group_of(self.address), self.channel_name)

    async def payment_seen(self, message):
        frame = dict(message["frame"])
        if message["number"] < self.following or frame["timestamp"] < self.since:
            return
        self.following = message["number"]
        if (await self.settings()).websocket == Settings.WebSocket.NO_TXID:
            del frame["txid"]
        await self.send(json.dumps(frame))

    @database_sync_to_async
    def settings(self):
        return Settings.objects.current()

    @database_sync_to_async
    def newest(self):
        if not is_payable(self.address):
            return None
        payment = Transaction.objects.alive().paying(self.address).first()
        return payment and message_about(payment, self.address, payment.status)
