"""The merchant's name, logo and colour, on every page and readable in both themes."""

import re
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.views.defaults import server_error

from shop import theme as shop_theme

CSS = (Path(__file__).parents[2] / "static/css/shop.css").read_text()
COLOURS = ["#1f4e6b", "#ffcc00", "#ff0000", "#000000", "#ffffff", "#808080", "#00ff00", "#7f00ff"]


def variables(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): ?(#[0-9a-f]{6})", css))


LIGHT, DARK = (variables(part) for part in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2])


def themes(sheet: str) -> tuple[dict, dict]:
    light, dark = (variables(part) for part in re.findall(r":root\{(.*?)\}", sheet))
    return light, {**light, **dark}


@pytest.mark.parametrize("colour", COLOURS)
def test_any_colour_is_readable_in_both_themes(colour):
    for worn, theme in zip(themes(shop_theme.stylesheet(colour)), (LIGHT, DARK), strict=True):
        assert worn["brand"] == colour
        assert shop_theme.contrast(worn["brand"], worn["brand-ink"]) >= 4.5
        for paper in ("paper", "card"):
            assert shop_theme.contrast(worn["accent"], theme[paper]) >= 4.5


def test_a_colour_that_is_readable_as_it_is_stays_as_it_is():
    assert themes(shop_theme.stylesheet("#1f4e6b"))[0]["accent"] == "#1f4e6b"


@pytest.mark.parametrize("theme", [LIGHT, {**LIGHT, **DARK}])
def test_the_shops_own_colours_are_readable(theme):
    for ink in ("ink", "soft", "accent", "good", "bad", "warm"):
        for paper in ("paper", "card"):
            assert shop_theme.contrast(theme[ink], theme[paper]) >= 4.5, (ink, paper)
    assert shop_theme.contrast(theme["ink"], theme["warm-paper"]) >= 4.5
    assert shop_theme.contrast(theme["edge"], theme["card"]) >= 3  # what shows where a field is


def test_the_papers_are_those_of_the_stylesheet():
    assert (LIGHT["paper"], DARK["card"]) == (shop_theme.LIGHT_PAPER, shop_theme.DARK_PAPER)


def test_black_and_white_differ_by_all_there_is():
    assert round(shop_theme.contrast("#ffffff", "#000000"), 2) == 21


def test_the_colour_is_a_stylesheet_of_its_own(client, db, settings):
    settings.SHOP_ACCENT = "#ffcc00"

    page = client.get("/").content.decode()
    sheet = client.get("/theme/ffcc00.css")

    assert '<link rel="stylesheet" href="/theme/ffcc00.css">' in page
    assert sheet["Content-Type"] == "text/css"
    assert "immutable" in sheet["Cache-Control"]
    assert "--brand:#ffcc00" in sheet.content.decode()


def test_without_a_colour_nothing_more_is_loaded(client, db):
    assert "/theme/" not in client.get("/").content.decode()


@pytest.mark.parametrize("colour", ["000000", "ffcc0", "FFCC00", "red", "ffcc00}x"])
def test_no_other_colour_can_be_asked_for(client, db, settings, colour):
    settings.SHOP_ACCENT = "#ffcc00"

    assert client.get(f"/theme/{colour}.css").status_code == 404


def test_no_colour_is_no_stylesheet(client, db):
    assert client.get("/theme/.css").status_code == 404


def test_the_logo_stands_in_place_of_the_name(client, db, settings):
    settings.SHOP_NAME, settings.SHOP_LOGO = "Night & Day", "/media/logo.svg"

    page = client.get("/").content.decode()

    assert '<img src="/media/logo.svg" alt="Night &amp; Day">' in page


def test_even_the_last_resort_wears_the_shops_dress(settings):
    settings.SHOP_NAME, settings.SHOP_ACCENT = "Night & Day", "#ffcc00"

    page = server_error(RequestFactory().get("/")).content.decode()

    assert "Night &amp; Day</a>" in page
    assert 'href="/theme/ffcc00.css"' in page


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "429", "500", "503"])
def test_every_error_shows_the_way_on(rf, name):
    page = render_to_string(f"{name}.html", {"minutes": 2}, request=rf.get("/"))

    assert len(re.findall(r"<h1>[^<]+</h1>", page)) == 1
    assert 'href="/"' in page
    assert '<meta name="viewport"' in page
