"""What is sold: where it is kept, and how a file is handed over."""

import os
import re
import secrets
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.http import FileResponse, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import content_disposition_header, http_date

CHUNK_BYTES = 256 * 1024
SENDFILE_HEADERS = ["X-Accel-Redirect", "X-Sendfile"]


class GoodsStorage(FileSystemStorage):
    """A folder that no public URL leads to; the merchant's desk has one for its own use."""

    def url(self, name):
        return reverse("admin:catalogue_product_goods", args=[name])


def name_on_disk(product, name: str) -> str:
    """A short one of our own: disks count bytes where people write letters.

    The merchant's name is kept for whoever downloads it.
    """
    product.file_name = os.path.basename(name)
    ending = re.search(r"\.[A-Za-z0-9]{1,10}$", name)
    return secrets.token_hex(12) + (ending[0].lower() if ending else "")


def hand_over(request: HttpRequest, file, name: str = "") -> HttpResponse:
    """The file under its merchant's name: by the proxy, if one is told to, else by the shop itself.

    Raises FileNotFoundError.
    """
    name = name or os.path.basename(file.name)
    if settings.SENDFILE:
        return _by_proxy(file, name)
    return GoodsResponse(request, file, name)


def is_whole(request: HttpRequest, response: HttpResponse) -> bool:
    """Whether somebody gets all of it now: neither a part, nor a look ahead by a browser."""
    purpose = request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))
    return request.method == "GET" and response.status_code == 200 and "prefetch" not in purpose


def _by_proxy(file, name: str) -> HttpResponse:
    """Nothing but a header, by which the proxy sends the file, parts of it as well."""
    if not file.storage.exists(file.name):
        raise FileNotFoundError(file.name)
    response = HttpResponse(content_type="application/octet-stream")
    is_path = settings.SENDFILE == "X-Sendfile"
    response[settings.SENDFILE] = file.path if is_path else f"/goods/{quote(file.name)}"
    response["Content-Disposition"] = content_disposition_header(True, name)
    return response


class GoodsResponse(FileResponse):
    """A file, or the part that was asked for, in chunks; under ASGI FileResponse would load it all.

    An interrupted download is resumed (`Range`) while the file is the same (`If-Range`).
    """

    block_size = CHUNK_BYTES

    def __init__(self, request: HttpRequest, file, name: str):
        state = os.stat(file.path)
        tag, changed = f'"{state.st_size:x}-{state.st_mtime_ns:x}"', http_date(state.st_mtime)
        start, end = _part(request, state.st_size, [tag, changed])
        self.file = Part(file.open("rb"), start, end)
        super().__init__(self.file, as_attachment=True, filename=name)
        self["Accept-Ranges"], self["ETag"], self["Last-Modified"] = "bytes", tag, changed
        self["Content-Length"] = str(end - start)
        if start >= end:
            self.status_code = 416
            self["Content-Range"] = f"bytes */{state.st_size}"
        elif end - start < state.st_size:
            self.status_code = 206
            self["Content-Range"] = f"bytes {start}-{end - 1}/{state.st_size}"

    async def __aiter__(self):
        read = sync_to_async(self.file.read, thread_sensitive=False)
        while chunk := await read(self.block_size):
            yield chunk


class Part:
    """A file from one byte on to before another one."""

    def __init__(self, file, start: int, end: int):
        self.file, self.left = file, end - start
        file.seek(start)

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        chunk = self.file.read(min(size, self.left))
        self.left -= len(chunk)
        return chunk

    def close(self):
        self.file.close()


def _part(request: HttpRequest, size: int, versions: list[str]) -> tuple[int, int]:
    """From which byte on to before which one; empty if there is no such part.

    What is no single range of bytes, or meant another version of the file, asks for all of it.
    """
    asked = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("Range", ""), re.ASCII)
    if not asked or asked[0] == "bytes=-" or request.method != "GET":
        return 0, size
    if request.headers.get("If-Range", versions[0]) not in versions:
        return 0, size
    first, last = asked[1], asked[2]
    if not first:  # the last so many
        return max(0, size - int(last)), size
    end = min(size, int(last) + 1) if last else size
    if last and int(last) < int(first):
        return 0, size
    return min(int(first), end), end
