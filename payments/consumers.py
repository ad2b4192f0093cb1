from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from . import live
from .models import Invoice


class InvoiceConsumer(AsyncWebsocketConsumer):
    """One open invoice page. It is told "look again" and asks the status door what there is."""

    async def connect(self):
        """Called when a page connects; whoever does not know a key is turned away."""
        key = self.scope["url_route"]["kwargs"]["key"]
        if not await database_sync_to_async(Invoice.objects.with_key(key).exists)():
            return await self.close()
        self.group = live.group_name(key)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        """Called when the page is gone."""
        if hasattr(self, "group"):
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def invoice_changed(self, event):
        """Called by live.announce."""
        await self.send(text_data="look again")
