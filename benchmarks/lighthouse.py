"""Lighthouse looks at the shop as it is in production: python -m benchmarks.lighthouse

The server runs with DEBUG and SANDBOX off on a full catalogue, and a sandbox in a process of its
own stands in for Blockonomics, so that nothing leaves the machine. Standard mobile throttling. For
performance the median of the runs counts, for all else the worst. Ends with 1 if a goal is missed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import requests
from playwright._impl._driver import compute_driver_executable

from tests.browser import chromium

from . import shop

PROGRAM = shop.ROOT / "var" / "lighthouse" / "node_modules" / "lighthouse" / "cli" / "index.js"
REPORTS = shop.ROOT / "artefacts" / "lighthouse"
RUNS = 5
RUN_SECONDS = 180
TRIES = 3
API_KEY = "for-lighthouse-only"
GOODS_IN_THE_CATALOGUE = 12

GOALS = {"performance": 98, "accessibility": 100, "best-practices": 100, "seo": 100}
# No search engine may list an invoice: what Lighthouse calls a fault there is meant so.
NO_GOALS = {("invoice", "seo")}
METRICS = {
    "first paint": "first-contentful-paint",
    "largest": "largest-contentful-paint",
    "blocked": "total-blocking-time",
    "shift": "cumulative-layout-shift",
}


class LighthouseFailed(Exception):
    """The page could not be judged."""


@dataclass
class Run:
    """What one run of Lighthouse says of a page."""

    report: dict

    def __post_init__(self):
        if error := self.report.get("runtimeError"):
            raise LighthouseFailed(error["message"])

    def score(self, category: str) -> int:
        """0 to 100. A category that could not be judged in full has no score, so 0."""
        return round(100 * (self.report["categories"][category]["score"] or 0))

    def faults(self, category: str) -> list[str]:
        """The audits that cost something."""
        audits = self.report["audits"]
        return [
            f"{part['id']}: {audits[part['id']]['title']}"
            for part in self.report["categories"][category]["auditRefs"]
            if part["weight"] and audits[part["id"]]["score"] not in (None, 1)
        ]

    def metric(self, name: str) -> float:
        return self.report["audits"][name]["numericValue"]

    @property
    def speed_of_the_machine(self) -> float:
        return self.report["environment"]["benchmarkIndex"]


def verdict(category: str, runs: list[Run]) -> int:
    """Performance varies with what else the machine does; nothing else may vary at all."""
    scores = [run.score(category) for run in runs]
    return int(statistics.median_low(scores) if category == "performance" else min(scores))


def environment(folder: Path, site: str, service: int) -> dict[str, str]:
    return shop.environment(
        folder,
        DJANGO_SETTINGS_MODULE="benchmarks.settings",
        SITE_URL=site,
        BLOCKONOMICS_URL=f"http://127.0.0.1:{service}",
        BLOCKONOMICS_API_KEY=API_KEY,
        # Longer than the whole measurement, so that each run sees the same page.
        QUOTE_MINUTES="600",
        PRICE_MAX_AGE="36000",
    )


@contextmanager
def sandbox(folder: Path, callback_url: str):
    """A Blockonomics of our own; yields its port."""
    port = shop.free_port()
    command = ["-m", "sandbox", "--port", str(port), "--api-key", API_KEY]
    command += ["--callback-url", callback_url]
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *command],
        cwd=shop.ROOT,
        env={**os.environ, "SANDBOX_DATA_DIR": str(folder / "sandbox")},
        stdout=subprocess.DEVNULL,
    )
    try:
        shop.wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def stock_the_catalogue():
    """The demo's goods, and a second print of each, which shows its other picture first."""
    from demo.goods import GOODS
    from demo.management.commands.demo import Command

    prints = [
        replace(
            good,
            slug=f"{good.slug}-second-print",
            title=f"{good.title}, Second Print",
            pictures=good.pictures[::-1],
        )
        for good in GOODS
    ]
    Command().stock_the_catalogue((*GOODS, *prints)[:GOODS_IN_THE_CATALOGUE])


def buy(site: str, product) -> str:
    """Buys a product as a program would; returns the address of its invoice."""
    with requests.Session() as visitor:
        visitor.get(site + product.get_absolute_url(), timeout=30).raise_for_status()
        answer = visitor.post(
            f"{site}/payments/create/{product.pk}/",
            headers={"X-CSRFToken": visitor.cookies["csrftoken"]},
            timeout=30,
        )
    answer.raise_for_status()
    return answer.url


def lighthouse(url: str, report: Path) -> Run:
    """One run. On a busy machine Lighthouse may fail to record one and asks to be run again."""
    for tries_left in reversed(range(TRIES)):
        try:
            return attempt(url, report)
        except (LighthouseFailed, subprocess.SubprocessError) as error:
            if not tries_left:
                raise
            print(f"\n{error}\nOnce more.", file=sys.stderr)


def attempt(url: str, report: Path) -> Run:
    """By the Node.js of Playwright's wheel: the machine's may be too old."""
    node, _ = compute_driver_executable()
    flags = ["--headless=new", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    subprocess.run(  # noqa: S603
        [
            *[node, str(PROGRAM), url, "--quiet", "--no-enable-error-reporting"],
            *["--output", "json", "--output", "html", "--output-path", str(report)],
            *[f"--only-categories={','.join(GOALS)}", f"--chrome-flags={' '.join(flags)}"],
        ],
        env={**os.environ, "CHROME_PATH": chromium.find() or ""},
        check=True,
        timeout=RUN_SECONDS,
    )
    return Run(json.loads(Path(f"{report}.report.json").read_text()))


def measure(folder: Path) -> dict[str, list[Run]]:
    port = shop.free_port()
    site = f"http://127.0.0.1:{port}"
    callback_url = f"{site}/payments/callback/blockonomics?secret={shop.SECRET}"
    with sandbox(folder, callback_url) as service:
        os.environ.update(environment(folder, site, service))
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        stock_the_catalogue()
        from payments.models import Product

        product = Product.objects.on_sale().first()
        with shop.server(dict(os.environ), folder / "log.txt", port):
            pages = {
                "catalogue": f"{site}/",
                "product": site + product.get_absolute_url(),
                "invoice": buy(site, product),
            }
            for url in pages.values():
                requests.get(url, timeout=30).raise_for_status()
            runs = {page: [] for page in pages}
            for number in range(1, RUNS + 1):
                for page, url in pages.items():
                    print(f"\r{number} of {RUNS}: {page}".ljust(40), end="", file=sys.stderr)
                    runs[page].append(lighthouse(url, REPORTS / f"{page}-{number}"))
            print("\r".ljust(41), end="\r", file=sys.stderr)
    return runs


def missed_goals(runs: dict[str, list[Run]]) -> list[tuple[str, str]]:
    """Each page and category that is below its goal."""
    return [
        (page, category)
        for page, its_runs in runs.items()
        for category, goal in GOALS.items()
        if (page, category) not in NO_GOALS and verdict(category, its_runs) < goal
    ]


def print_scores(runs: dict[str, list[Run]]):
    print(f"{'':10}" + "".join(f"{category:>16}" for category in GOALS))
    for page, its_runs in runs.items():
        print(f"{page:10}", end="")
        for category in GOALS:
            score = verdict(category, its_runs)
            print(f"{f'({score})' if (page, category) in NO_GOALS else score:>16}", end="")
        print()


def print_metrics(runs: dict[str, list[Run]]):
    print(f"\n{'':10}" + "".join(f"{title:>14}" for title in METRICS) + f"{'performance':>28}")
    for page, its_runs in runs.items():
        *times, shift = (
            statistics.median(run.metric(name) for run in its_runs) for name in METRICS.values()
        )
        scores = " ".join(str(run.score("performance")) for run in its_runs)
        print(f"{page:10}" + "".join(f"{time:11.0f} ms" for time in times), end="")
        print(f"{shift:14.3f}{scores:>28}")


def print_machine(runs: dict[str, list[Run]], loads: list[float]):
    speeds = [run.speed_of_the_machine for its_runs in runs.values() for run in its_runs]
    print(
        f"\n{os.cpu_count()} processors, a load of {min(loads):.1f} to {max(loads):.1f}, "
        f"a speed of {min(speeds):.0f} to {max(speeds):.0f} by Lighthouse's own index"
    )


def main() -> int:
    if not PROGRAM.exists():
        print("Lighthouse is not installed: `make lighthouse` does that.", file=sys.stderr)
        return 1
    REPORTS.mkdir(parents=True, exist_ok=True)
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        runs = measure(Path(folder))
    loads.append(os.getloadavg()[0])
    version = runs["catalogue"][0].report["lighthouseVersion"]
    print(f"Lighthouse {version}, {RUNS} runs, production settings, mobile, throttled\n")
    print_scores(runs)
    print_metrics(runs)
    print_machine(runs, loads)
    missed = missed_goals(runs)
    for page, category in missed:
        print(f"\nMissed: {category} of the {page} is to be {GOALS[category]}.")
        for fault in sorted({fault for run in runs[page] for fault in run.faults(category)}):
            print(f"  {fault}")
    if any(category == "performance" for _, category in missed) and max(loads) > (
        os.cpu_count() or 1
    ):
        print("\nThe machine was busy, which costs performance: try again when it is quiet.")
    print(f"\nThe reports are in {REPORTS.relative_to(shop.ROOT)}/.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
