"""A real Chromium before a real server."""

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect, sync_playwright

from tests.live import Demo

from . import chromium

# Patience for a machine that is busy with other tests.
expect.set_options(timeout=20_000)

# Chromium's own calls home would only fail here, and slow the tests down.
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]


def pytest_collection_modifyitems(items):
    """All browser tests on one worker: one server, one browser at a time."""
    for item in items:
        if "tests/browser" in item.nodeid:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture(autouse=True)
def an_honest_sandbox(shop):
    yield
    shop.control("reset")


@pytest.fixture(scope="module")
def chrome():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=FLAGS)
        yield browser
        browser.close()


# What a browser says of a network or a server that is away, which is what some tests are about.
OUTAGES = ("WebSocket connection to", "Failed to load resource")


def patient(goto):
    """Goes where it is told, like a person, also while the page is just loading itself anew."""

    def go(*args, **kwargs):
        for _ in range(3):
            try:
                return goto(*args, **kwargs)
            except PlaywrightError as error:
                if "interrupted by another navigation" not in error.message:
                    raise
        return goto(*args, **kwargs)

    return go


@pytest.fixture
def visit(chrome, shop, request):
    """Opens a browser window of its own: visit(width=390, javascript=False)."""
    contexts, complaints, raised = [], [], []

    def visit(width=1280, javascript=True, **options):
        context = chrome.new_context(
            base_url=shop.url,
            viewport={"width": width, "height": 844 if width < 600 else 900},
            java_script_enabled=javascript,
            **options,
        )
        contexts.append(context)
        context.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        context.on("weberror", lambda error: raised.append(str(error.error)))
        page = context.new_page()
        page.goto = patient(page.goto)
        return page

    yield visit
    for context in contexts:
        context.close()
    # Whatever a browser has to complain about, a forbidden script or style among it.
    assert raised == []
    assert [text for text in complaints if not text.startswith(OUTAGES)] == []
