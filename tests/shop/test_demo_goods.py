"""The demo goods: what is in the catalogue and what the files are."""

import array
import hashlib
import wave
from decimal import Decimal

import pytest
from PIL import Image

from demo.goods import FOLDER, GOODS

BY_SLUG = {good.slug: good for good in GOODS}
LANDSCAPES = [good.slug for good in GOODS if good.category == "Wallpapers"]
PREVIEW_BYTES = 90_000


def test_there_are_six_goods_and_the_mountain_at_dawn_is_first():
    assert len(GOODS) == 6
    assert GOODS[0].slug == "himalaya-at-dawn"


@pytest.mark.parametrize("name", ["slug", "title", "file", "price"])
def test_no_two_goods_share_it(name):
    assert len({getattr(good, name) for good in GOODS}) == len(GOODS)


def test_prices_are_small_amounts_in_whole_cents():
    for good in GOODS:
        assert isinstance(good.price, Decimal)
        assert Decimal("0.90") <= good.price <= Decimal("12.00")
        assert good.price == good.price.quantize(Decimal("0.01"))


@pytest.mark.parametrize("slug", LANDSCAPES)
def test_a_landscape_is_a_jpeg_of_wallpaper_size(slug):
    with Image.open(BY_SLUG[slug].file) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (2560, 1440)
        picture.load()


@pytest.mark.parametrize("slug", BY_SLUG)
def test_a_preview_is_a_small_jpeg(slug):
    assert BY_SLUG[slug].pictures
    for preview in BY_SLUG[slug].pictures:
        with Image.open(preview.file) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (960, 540)
            picture.load()
        assert preview.file.stat().st_size <= PREVIEW_BYTES


@pytest.mark.parametrize("slug", LANDSCAPES)
def test_a_landscape_has_a_detail_beside_the_whole(slug):
    whole, detail = BY_SLUG[slug].pictures

    assert whole.file.read_bytes() != detail.file.read_bytes()


def test_every_file_is_somebodys_and_stands_there_once():
    kept = [path for path in FOLDER.rglob("*.*") if path.suffix not in (".py", ".pyc", ".toml")]
    told = [good.file for good in GOODS]
    told += [preview.file for good in GOODS for preview in good.pictures]

    assert sorted(kept) == sorted(told)
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in kept}) == len(kept)


def test_every_preview_is_told_in_words_of_its_own():
    words = [preview.alt for good in GOODS for preview in good.pictures]

    assert all(words)
    assert len(set(words)) == len(words)


def test_the_guide_is_a_pdf_whose_index_is_right():
    guide = BY_SLUG["paying-with-bitcoin"].file.read_bytes()
    assert guide.startswith(b"%PDF-")
    assert guide.rstrip().endswith(b"%%EOF")
    index = int(guide.split(b"startxref")[1].split()[0])
    assert guide[index:].startswith(b"xref")
    offsets = [int(line[:10]) for line in guide[index:].splitlines() if line.endswith(b" n ")]
    for number, offset in enumerate(offsets, 1):
        assert guide[offset:].startswith(b"%d 0 obj" % number)


def test_the_guide_holds_its_text_as_text():
    assert b"(Before you press send) Tj" in BY_SLUG["paying-with-bitcoin"].file.read_bytes()


def test_the_sound_lasts_a_few_seconds_and_begins_and_ends_in_silence():
    with wave.open(str(BY_SLUG["singing-bowl"].file)) as sound:
        assert (sound.getsampwidth(), sound.getframerate()) == (2, 44_100)
        assert 8 <= sound.getnframes() / sound.getframerate() <= 15
        samples = array.array("h", sound.readframes(sound.getnframes()))
    edge = 441
    assert max(map(abs, samples[:edge] + samples[-edge:])) <= 2
    assert max(map(abs, samples)) > 20_000
