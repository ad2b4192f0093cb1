"""A crowd of connections, each of which asks as soon as it has been answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Outcome:
    seconds: list[float] = field(default_factory=list)
    codes: Counter = field(default_factory=Counter)
    took: float = 0

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.took

    def percentile(self, percent: float) -> float:
        """So many percent of all answers came within this time, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1_000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def crowd(port: int, paths: Iterator[str], connections: int, seconds: float = 0) -> Outcome:
    """Asks for the paths, for so many seconds or until there are no more."""
    return asyncio.run(_crowd(port, paths, connections, seconds))


async def _crowd(port, paths, connections, seconds) -> Outcome:
    outcome, began = Outcome(), time.perf_counter()
    end = began + seconds if seconds else float("inf")
    await asyncio.gather(*(_one(port, paths, end, outcome) for _ in range(connections)))
    outcome.took = time.perf_counter() - began
    return outcome


async def _one(port, paths, end, outcome):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for path in paths:
            began = time.perf_counter()
            if began > end:
                return
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            outcome.seconds.append(time.perf_counter() - began)
            outcome.codes[int(head[9:12])] += 1
    finally:
        writer.close()


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0] or 0)
