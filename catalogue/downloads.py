"""What is sold: where it is kept, and how a file is handed over."""

import os

from asgiref.sync import sync_to_async
from django.core.files.storage import FileSystemStorage
from django.http import FileResponse
from django.urls import reverse

CHUNK_BYTES = 256 * 1024


class GoodsStorage(FileSystemStorage):
    """A folder that no public URL leads to; the merchant's desk has one for its own use."""

    def url(self, name):
        return reverse("admin:catalogue_product_goods", args=[name])


class GoodsResponse(FileResponse):
    """A file that flows in chunks under ASGI too, where FileResponse would load all of it."""

    block_size = CHUNK_BYTES

    def __init__(self, file):
        self.file = file.open("rb")
        super().__init__(self.file, as_attachment=True, filename=os.path.basename(file.name))

    async def __aiter__(self):
        read = sync_to_async(self.file.read, thread_sensitive=False)
        while chunk := await read(self.block_size):
            yield chunk
