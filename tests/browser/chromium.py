"""Finds a Chromium for the browser tests, or gets one: python -m tests.browser.chromium"""

import os
import shutil
import subprocess
import sys

from playwright.sync_api import sync_playwright

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
HELP = """No Chromium was found, and none could be installed.
Install one by hand (Debian: apt-get install chromium), or name it in the variable CHROMIUM."""


def find() -> str | None:
    """The path of a Chromium: CHROMIUM, the machine's, or the one that Playwright installed."""
    if named := os.environ.get("CHROMIUM"):
        return named
    for name in NAMES:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


def install() -> None:
    """Debian's package where we are root, else Playwright's own download."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ["chromium", "fonts-dejavu-core"]
        subprocess.call(["apt-get", "update", "-qq"], env=environment)
        subprocess.call(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
    if not find():
        subprocess.call([sys.executable, "-m", "playwright", "install", "chromium"])


def main() -> int:
    if not find():
        print("No Chromium here yet; installing one.", flush=True)
        install()
    if not (path := find()):
        print(HELP, file=sys.stderr)
        return 1
    print(f"Browser tests run in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
