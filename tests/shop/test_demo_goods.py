"""The demo goods: what is on the shelf and what the files are."""

import array
import io
import wave
from decimal import Decimal

import pytest
from PIL import Image

from demo.goods import GOODS, PREVIEW_BYTES

BY_SLUG = {good.slug: good for good in GOODS}
# The quickest landscape stands for all four: they share their last step.
CHECKED = ("northern-lights", "paying-with-bitcoin", "singing-bowl")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {slug: BY_SLUG[slug].make() for slug in CHECKED}


def test_there_are_six_goods_and_the_mountain_at_dawn_is_first():
    assert len(GOODS) == 6
    assert GOODS[0].slug == "himalaya-at-dawn"


@pytest.mark.parametrize("name", ["slug", "title", "filename", "price"])
def test_no_two_goods_share_it(name):
    assert len({getattr(good, name) for good in GOODS}) == len(GOODS)


def test_prices_are_small_amounts_in_whole_cents():
    for good in GOODS:
        assert isinstance(good.price, Decimal)
        assert Decimal("0.90") <= good.price <= Decimal("12.00")
        assert good.price == good.price.quantize(Decimal("0.01"))


def test_a_landscape_is_a_jpeg_of_wallpaper_size(files):
    picture = Image.open(io.BytesIO(files["northern-lights"]))
    assert picture.format == "JPEG"
    assert picture.size == (2560, 1440)


@pytest.mark.parametrize("slug", CHECKED)
def test_a_preview_is_a_small_jpeg(slug, files):
    for preview in BY_SLUG[slug].pictures:
        file = preview.make(files[slug])
        picture = Image.open(io.BytesIO(file))
        assert picture.format == "JPEG"
        assert picture.size == (960, 540)
        assert len(file) <= PREVIEW_BYTES == 90_000


def test_a_landscape_has_a_detail_beside_the_whole(files):
    whole, detail = BY_SLUG["northern-lights"].pictures
    full = files["northern-lights"]

    assert whole.make(full) != detail.make(full)


def test_every_preview_is_told_in_words_of_its_own():
    words = [preview.words for good in GOODS for preview in good.pictures]

    assert all(words)
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("slug", CHECKED)
def test_the_same_good_always_has_the_same_bytes(slug, files):
    good = BY_SLUG[slug]
    assert good.make() == files[slug]
    for preview in good.pictures:
        assert preview.make(files[slug]) == preview.make(files[slug])


def test_the_guide_is_a_pdf_whose_index_is_right(files):
    guide = files["paying-with-bitcoin"]
    assert guide.startswith(b"%PDF-")
    assert guide.rstrip().endswith(b"%%EOF")
    index = int(guide.split(b"startxref")[1].split()[0])
    assert guide[index:].startswith(b"xref")
    offsets = [int(line[:10]) for line in guide[index:].splitlines() if line.endswith(b" n ")]
    for number, offset in enumerate(offsets, 1):
        assert guide[offset:].startswith(b"%d 0 obj" % number)


def test_the_guide_holds_its_text_as_text(files):
    assert b"(Before you press send) Tj" in files["paying-with-bitcoin"]


def test_the_sound_lasts_a_few_seconds_and_begins_and_ends_in_silence(files):
    with wave.open(io.BytesIO(files["singing-bowl"])) as sound:
        assert (sound.getsampwidth(), sound.getframerate()) == (2, 44_100)
        assert 8 <= sound.getnframes() / sound.getframerate() <= 15
        samples = array.array("h", sound.readframes(sound.getnframes()))
    edge = 441
    assert max(map(abs, samples[:edge] + samples[-edge:])) <= 2
    assert max(map(abs, samples)) > 20_000
