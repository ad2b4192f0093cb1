"""What the browser tests look at on any page: axe-core's rules, overflow, and pictures of it."""

from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
# WCAG 2.2 up to AA, and what axe-core holds to be good practice besides.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
THEMES = ("light", "dark")


def picture(page, name):
    """Keeps a picture of the page for people to look at."""
    ARTEFACTS.mkdir(exist_ok=True)
    width = page.viewport_size["width"]
    page.screenshot(path=ARTEFACTS / f"{name}-{width}.png", full_page=True)


def complaints(page) -> list[str]:
    """What axe-core has against the page as it is shown just now."""
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("tags => axe.run({runOnly: tags, resultTypes: ['violations']})", TAGS)
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def overflow(page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate(
        "() => { const e = document.documentElement; return e.scrollWidth - e.clientWidth; }"
    )


def assert_fine(page, name):
    """Axe-core finds nothing and nothing is cut off, in both themes; a picture of each is kept."""
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        picture(page, f"{name}-{theme}")
        assert complaints(page) == [], f"{name}, {theme}"
    assert overflow(page) <= 0, name


def assert_plain_to_everybody(page, name):
    """On a phone and on a desk, by day and by night, on the smallest phone, with large letters."""
    for width, height in ((390, 844), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        assert_fine(page, name)
    assert_fits_on_the_smallest_phone(page, name)


def assert_fits_on_the_smallest_phone(page, name):
    """At 320 pixels, from left to right and from right to left; and with letters twice as large."""
    page.set_viewport_size({"width": 320, "height": 640})
    for direction in ("ltr", "rtl"):
        page.evaluate("direction => { document.documentElement.dir = direction; }", direction)
        assert overflow(page) <= 0, f"{name}, {direction}"
    page.set_viewport_size({"width": 640, "height": 900})
    page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
    assert overflow(page) <= 0, f"{name}, letters twice as large"
