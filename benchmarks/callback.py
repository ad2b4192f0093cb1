"""The callback door against the naive view: python -m benchmarks.callback

Same server, same run, in alternating rounds, 32 connections, SQLite. The machine's mood falls on
all, so the ratios count. The naive view runs twice: with SQLite as a new Django project has it, and
with the shop's options (WAL, IMMEDIATE, a commit that survives a power cut). The goal: the slowest
hundredth of our answers takes at most a fifth of the naive project's. Ends with 1 if it is missed.
"""

import os
import random
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

from . import shop
from .load import Outcome, crowd

CONNECTIONS = 32
INVOICES = 400
ROUNDS = 3
SECONDS = 5
GOAL = 5


def naive(database, attempts, chance):
    """Callbacks about payment attempts at random, for ever."""
    while True:
        attempt, status = chance.choice(attempts), chance.randrange(3)
        addr_and_status = {"addr": attempt.reference, "status": status}
        yield f"/naive/{database}/callback?{urlencode(addr_and_status)}"


def ours(attempts, chance):
    """The same with all that our door asks for; each transaction is reported again and again."""
    while True:
        attempt, part = chance.choice(attempts), chance.randrange(8)
        query = {
            "secret": shop.SECRET,
            "addr": attempt.reference,
            "status": chance.randrange(3),
            "value": shop.DUE // 4,
            "txid": f"{attempt.pk:032x}{part:032x}",
        }
        yield f"/payments/callback/blockonomics?{urlencode(query)}"


def measure(folder: Path) -> dict[str, list[Outcome]]:
    environment = shop.environment(folder, DJANGO_SETTINGS_MODULE="benchmarks.settings")
    os.environ.update(environment)
    import django
    from django.core.management import call_command

    django.setup()
    for database in ("default", "plain"):
        call_command("migrate", database=database, verbosity=0)
    chance = random.Random(32)  # noqa: S311
    attempts = shop.open_attempts(2 * INVOICES)
    contest = {
        "naive": naive("plain", shop.open_attempts(INVOICES, database="plain"), chance),
        "our SQLite": naive("default", attempts[:INVOICES], chance),
        "ours": ours(attempts[INVOICES:], chance),
    }
    outcomes = {name: [] for name in contest}
    with shop.server(environment, folder / "log.txt") as port:
        for paths in contest.values():
            crowd(port, paths, CONNECTIONS, 1)
        for _ in range(ROUNDS):
            for name, paths in contest.items():
                outcomes[name].append(crowd(port, paths, CONNECTIONS, SECONDS))
    return outcomes


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        outcomes = measure(Path(folder))
    print(f"The callback door, {CONNECTIONS} connections, SQLite, median of {ROUNDS} rounds\n")
    print(f"{'':20}{'naive':>14}{'naive, our':>14}{'ours':>8}{'ours/':>10}{'ours/naive,':>14}")
    print(f"{'':20}{'project':>14}{'SQLite options':>15}{'':>7}{'naive':>10}{'our options':>14}")
    figures = {
        "answers per second": lambda outcome: outcome.per_second,
        "p50, milliseconds": lambda outcome: outcome.percentile(50),
        "p99, milliseconds": lambda outcome: outcome.percentile(99),
    }
    for title, figure in figures.items():
        plain, tuned, own = (statistics.median(map(figure, each)) for each in outcomes.values())
        ratios = f"{own / plain:9.2f}×{own / tuned:13.2f}×"
        print(f"{title:20}{plain:14.0f}{tuned:14.0f}{own:8.0f}{ratios}")
    for name, rounds in outcomes.items():
        codes = sum((outcome.codes for outcome in rounds), Counter())
        print(
            f"\n{name}: " + ", ".join(f"{count} × {code}" for code, count in codes.items()), end=""
        )
    is_met = own * GOAL <= plain
    print(f"\n\nA p99 of at most 1/{GOAL} of the naive project's: {'met' if is_met else 'missed'}.")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
