"""How much of the hard tests: SOAK=1 asks for hours of them, SOAK_MINUTES ends each test sooner."""

import os
import time
from collections.abc import Iterator

ASKED = os.environ.get("SOAK") == "1"
SECONDS = 60 * float(os.environ.get("SOAK_MINUTES", "inf"))
# For tests that take their time even without soaking, on a machine that is busy.
TIMEOUT = 36_000 if ASKED else 600


def rounds(count: int) -> Iterator[int]:
    """So many rounds, or as many as there is time for; at least one."""
    end = time.monotonic() + SECONDS
    for number in range(count):
        yield number
        if time.monotonic() > end:
            return
