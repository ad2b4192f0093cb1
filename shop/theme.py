"""The merchant's own colour, made readable, in a stylesheet of its own: the policy allows no other.

Buttons wear the colour as it is, with dark or light words, whichever is read better. As the colour
of links it is darkened or lightened until it stands out from the paper of each theme.
"""

import re

from django.conf import settings
from django.http import Http404, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

COLOUR = re.compile(r"#[0-9a-f]{6}")
# Of static/css/shop.css: the papers that links stand on, and the inks of a button.
LIGHT_PAPER, DARK_PAPER = "#f6f1e7", "#1b262e"
INKS = ("#ffffff", "#000000")
# What WCAG 2.2 AA asks of words.
READABLE = 4.5


def channels(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def luminance(colour: str) -> float:
    """As WCAG defines it: from 0 for black to 1 for white."""
    shares = [channel / 255 for channel in channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def readable_on(paper: str, colour: str) -> str:
    """The colour, moved towards black or white as far as it must be to be read on that paper."""
    goal = 0 if luminance(paper) > 0.5 else 255
    for percent in range(0, 101, 5):
        mixed = [round(c + (goal - c) * percent / 100) for c in channels(colour)]
        shade = "#{:02x}{:02x}{:02x}".format(*mixed)
        if contrast(shade, paper) >= READABLE:
            break
    return shade


def stylesheet(colour: str) -> str:
    ink = max(INKS, key=lambda ink: contrast(ink, colour))
    light, dark = readable_on(LIGHT_PAPER, colour), readable_on(DARK_PAPER, colour)
    return (
        f":root{{--brand:{colour};--brand-ink:{ink};--accent:{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{--accent:{dark}}}}}"
    )


@require_safe
@cache_control(public=True, max_age=31_536_000, immutable=True)
def accent(request, colour):
    """GET /theme/<rrggbb>.css: for the colour of SHOP_ACCENT only."""
    colour = f"#{colour}"
    if colour != settings.SHOP_ACCENT or not COLOUR.fullmatch(colour):
        raise Http404
    return HttpResponse(stylesheet(colour), content_type="text/css")
