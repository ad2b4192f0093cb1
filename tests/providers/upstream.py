"""A payment service at the wire that is ill: a real TCP server in a thread of its own."""

import asyncio
import contextlib
import gzip
import itertools
import json
import socket
import struct
import threading
from urllib.parse import urlsplit

from tests.conftest import RATE, address, txid
from tests.live import PATIENCE_SECONDS

DRIP_SECONDS = 0.03
LONG = 10_000_000


class Upstream:
    """Well, until `faults["new_address"]` or another call's is set to the name of a fault."""

    def __init__(self):
        self.faults, self.asked = {}, []
        self.addresses = (address(index) for index in itertools.count())
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="upstream")

    def __enter__(self):
        self.thread.start()
        self.server = self.run(asyncio.start_server(self.serve, "127.0.0.1", 0, limit=2**20))
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *error):
        self.run(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_SECONDS)

    async def end(self):
        self.server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.question = await reader.readexactly(content_length(head))
                path = urlsplit(head.split()[1].decode()).path
                self.asked.append(path)
                call = path.rpartition("/")[2]
                if fault := self.faults.get(call):
                    return await FAULTS[fault](writer, self.body(call))
                await send(writer, answer(self.body(call)))
        except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the shop hung up, or the test is over
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def body(self, call: str) -> bytes:
        told = {
            "new_address": lambda: {"address": next(self.addresses)},
            "price": lambda: {"price": int(RATE)},
            "balance": lambda: {"response": [{"addr": address(0), "confirmed": 7}]},
            "searchhistory": lambda: {"pending": [], "history": [{"txid": txid(1), "value": 7}]},
            "tx_detail": lambda: {
                "status": "Confirmed",
                "vout": [{"address": address(0), "value": 7}],
            },
        }
        return json.dumps(told[call]() if call in told else {}).encode()


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def answer(body: bytes, first="200 OK", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {first}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


async def send(writer, data: bytes):
    writer.write(data)
    await writer.drain()


async def drip(writer, data: bytes):
    for number in range(len(data)):
        await send(writer, data[number : number + 1])
        await asyncio.sleep(DRIP_SECONDS)


async def for_ever(writer, piece: bytes):
    while True:
        await send(writer, piece)


async def hang(writer, body):
    await asyncio.sleep(60)


async def hang_in_the_body(writer, body):
    await send(writer, answer(body)[:-3])
    await asyncio.sleep(60)


async def drip_headers(writer, body):
    await drip(writer, b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 2_000)


async def drip_body(writer, body):
    await send(writer, answer(b" " * 2_000)[:-2_000])
    await drip(writer, b" " * 2_000)


async def drip_chunks(writer, body):
    await send(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await drip(writer, b"1\r\n \r\n" * 500)


async def endless_chunks(writer, body):
    await send(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await for_ever(writer, b"400\r\n" + b" " * 1024 + b"\r\n")


async def endless_headers(writer, body):
    await send(writer, b"HTTP/1.1 200 OK\r\n")
    await for_ever(writer, b"X-Padding: " + b"x" * 1_000 + b"\r\n")


async def endless_header_line(writer, body):
    await send(writer, b"HTTP/1.1 200 OK\r\nX-Padding: ")
    await for_ever(writer, b"x" * 1_000)


async def endless_patience(writer, body):
    await for_ever(writer, b"HTTP/1.1 100 Continue\r\n\r\n")


async def endless_body(writer, body):
    await send(writer, b"HTTP/1.1 200 OK\r\n\r\n")
    await for_ever(writer, b" " * 1024)


async def endless_body_of_a_redirect(writer, body):
    await send(writer, b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n")
    await for_ever(writer, b" " * 1024)


async def reset(writer, body):
    drop_hard(writer)


async def reset_in_the_body(writer, body):
    await send(writer, answer(body)[:-3])
    await asyncio.sleep(0.02)
    drop_hard(writer)


def drop_hard(writer):
    """Closes with a TCP reset instead of a farewell."""
    lingering = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
    writer.transport.abort()


def saying(data: bytes):
    async def say(writer, body):
        await send(writer, data)

    return say


def telling(said: bytes, first="200 OK", *more: str):
    return saying(answer(said, first, "Connection: close", *more))


async def cut_in_the_headers(writer, body):
    await send(writer, answer(body)[:10])


async def cut_in_the_body(writer, body):
    await send(writer, answer(body)[:-3])


# What takes its time, so that the shop's own clock must end it.
SLOW = {
    fault.__name__: fault
    for fault in (hang, hang_in_the_body, drip_headers, drip_body, drip_chunks, endless_patience)
}
QUICK = {
    **{
        fault.__name__: fault
        for fault in (
            endless_chunks,
            endless_headers,
            endless_header_line,
            endless_body,
            endless_body_of_a_redirect,
            reset,
            reset_in_the_body,
            cut_in_the_headers,
            cut_in_the_body,
        )
    },
    "cut off at once": saying(b""),
    "500": telling(b"<h1>Oops</h1>", "500 Internal Server Error"),
    "503": telling(b"", "503 Service Unavailable"),
    "429": telling(b"", "429 Too Many Requests"),
    "no HTTP": saying(b"\x00\xff\x16\x03\x01 SSH-2.0\r\n\r\n"),
    "a status that is none": saying(b"HTTP/1.1 abc\r\n\r\n"),
    "a length that is none": saying(b"HTTP/1.1 200 OK\r\nContent-Length: -x\r\n\r\n{}"),
    "chunks that are none": saying(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    ),
    "gzip that is none": telling(b"{}", "200 OK", "Content-Encoding: gzip"),
    "a bomb": telling(gzip.compress(b" " * LONG), "200 OK", "Content-Encoding: gzip"),
    "10 MB": telling(b" " * LONG),
    "HTML": telling(b"<!doctype html><title>Maintenance</title>"),
    "empty": telling(b""),
    "null": telling(b"null"),
    "a list": telling(b"[]"),
    "a text": telling(b'"ok"'),
    "no UTF-8": telling(b'{"price": "\xff\xfe"}'),
    "deep": telling(b"[" * 60_000),
    "empty answer": telling(b"{}"),
    "redirect": telling(b"", "302 Found", "Location: /elsewhere"),
    "redirect to another host": telling(b"", "301 Moved", "Location: http://127.0.0.2:9/elsewhere"),
    "redirect to nonsense": telling(b"", "308 Moved", "Location: http://[\xff"),
}
for name, wrong in {
    "texts": "ox",
    "lists": [],
    "nulls": None,
    "objects": {"a": []},
    "truth": True,
    "below zero": -1,
    "fractions": 0.000000001,
}.items():
    row = {"addr": wrong, "address": wrong, "confirmed": wrong, "unconfirmed": wrong}
    row |= {"txid": wrong, "value": wrong, "status": wrong, "rbf": wrong}
    everything = {"address": wrong, "account": wrong, "price": wrong, "status": wrong}
    QUICK[f"{name} instead"] = telling(json.dumps(everything | {"response": wrong}).encode())
    rows = {"response": [row], "pending": [row], "history": [row, wrong], "vout": [row, wrong]}
    QUICK[f"{name} in rows"] = telling(json.dumps(everything | rows).encode())
for name, number in {
    "astronomical": b"1e999999999",
    "infinite": b"-Infinity",
    "NaN": b"NaN",
}.items():
    row = b'{"addr": "%b", "address": "%b", "confirmed": %b, "txid": "%b", "value": %b}' % (
        *[address(0).encode()] * 2,
        number,
        txid(1).encode(),
        number,
    )
    QUICK[name] = telling(
        b'{"address": %b, "price": %b, "response": [%b], "pending": [%b], "history": [%b], '
        b'"status": "Confirmed", "vout": [%b]}' % (number, number, row, row, row, row)
    )
FAULTS = SLOW | QUICK
