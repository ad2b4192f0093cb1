"""Pictures: what is taken in, what is made of it, and how a page shows it."""

import io
import re
import struct
import zlib
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from catalogue import pictures
from payments.models import Picture, Product

ADD = "/admin/catalogue/product/add/"


def file(kind="PNG", size=(640, 360), mode="RGB", **options) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind, **options)
    return content.getvalue()


def vast_png(width: int, height: int) -> bytes:
    """A small file that claims to be a picture of so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.fixture
def upload(admin_client, django_capture_on_commit_callbacks):
    """Puts a product with this picture in the catalogue, as the merchant does; returns the page."""

    def upload(content: bytes, name="preview.png"):
        with django_capture_on_commit_callbacks(execute=True):
            return admin_client.post(
                ADD,
                {
                    "title": "Mountain",
                    "slug": "mountain",
                    "price": "10.00",
                    "active": "on",
                    "file": SimpleUploadedFile("goods.txt", b"goods"),
                    "pictures-TOTAL_FORMS": 1,
                    "pictures-INITIAL_FORMS": 0,
                    "pictures-0-image": SimpleUploadedFile(name, content),
                    "pictures-0-alt": "A mountain",
                    "pictures-0-position": 0,
                },
            )

    return upload


# What is taken in


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("preview.jpg", file("JPEG")),
        ("preview.png", file("PNG", mode="RGBA")),
        ("preview.png", file("PNG", mode="P")),
        ("preview.png", file("PNG", mode="LA")),
        ("preview.webp", file("WEBP")),
        ("preview.avif", file("AVIF")),
        ("preview.gif", file("GIF")),
        ("preview.jpg", file("JPEG", mode="CMYK")),
        ("preview.jpg", file("JPEG", mode="L")),
        ("wrongly-named.jpg", file("PNG")),
        ("../../etc/passwd.png", file()),
        ("Käse & Brot (1).PNG", file()),
    ],
)
def test_a_picture_is_taken_in(upload, settings, name, content):
    response = upload(content, name)

    assert response.status_code == 302, re.findall(r"errorlist.*", response.content.decode())
    picture = Picture.objects.get()
    assert (picture.width, picture.height) == (640, 360)
    assert re.fullmatch(r"products/[a-z0-9-]+-[0-9a-f]{8}\.[a-z]+", picture.image.name)
    for kind in ("AVIF", "WEBP", "JPEG"):
        for size in picture.sizes(kind):
            with Image.open(settings.MEDIA_ROOT / size.name) as made:
                assert made.format == kind
                assert made.size == (size.width, size.width * 360 // 640)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("preview.png", b"<svg onload=alert(1)>", "not an image"),
        ("preview.png", b"", "empty"),
        ("preview.png", file()[:60], "image"),
        ("preview.jpg", file("JPEG", size=(2_000, 2_000))[:5_000], "cannot be read as a picture"),
        ("preview.png", file("TIFF"), "cannot be read as a picture"),
        ("preview.png", file("EPS"), "cannot be read as a picture"),
        ("preview.html", file(), "extension"),
        ("preview.svg", b"<svg/>", "image"),
        ("preview.png", vast_png(8_000, 8_000), "64 megapixels"),
        ("preview.png", vast_png(30_000, 30_000), "not an image"),
        ("preview.png", vast_png(1_000, 2_000), "cannot be read as a picture"),
    ],
)
def test_anything_else_is_a_clear_error_in_the_form(upload, name, content, complaint):
    response = upload(content, name)

    assert response.status_code == 200
    assert complaint in response.content.decode()
    assert not Picture.objects.exists()
    assert not Product.objects.exists()


def test_a_file_that_is_too_large_is_told_so(upload, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 1024 * 1024)

    response = upload(file() + bytes(1024 * 1024))

    assert "larger than 1 MB" in response.content.decode()


def test_a_profile_that_does_not_fit_the_picture_is_an_error_in_the_form(upload):
    response = upload(file("JPEG", icc_profile=b"no profile at all"), "preview.jpg")

    assert response.status_code == 200
    assert "cannot be read as a picture" in response.content.decode()


def test_a_product_needs_no_picture(admin_client):
    form = {"title": "A", "slug": "a", "price": "1", "description": ""}
    admin_client.post(ADD, form | {"pictures-TOTAL_FORMS": 0, "pictures-INITIAL_FORMS": 0})

    assert Product.objects.get().cover is None


# What is made of it


def test_sizes_are_made_as_far_as_the_original_goes(product, make_picture):
    wide, narrow, tiny = (make_picture(product, (w, 40)) for w in (2_000, 1_000, 200))

    assert [size.width for size in wide.sizes("AVIF")] == [320, 640, 960, 1280, 1920]
    assert [size.width for size in narrow.sizes("WEBP")] == [320, 640, 960]
    assert tiny.sources == [] and tiny.url == tiny.thumbnail == tiny.image.url
    assert wide.url.endswith("/960w.jpeg")
    assert wide.thumbnail.endswith("/320w.jpeg")


def test_where_and_with_what_it_was_taken_is_nobodys_business(upload, settings):
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    upload(file("JPEG", exif=exif.tobytes()), "preview.jpg")

    for size in Picture.objects.get().sizes("JPEG"):
        with Image.open(settings.MEDIA_ROOT / size.name) as made:
            assert not made.getexif()


def test_two_uploads_of_one_name_share_no_file(product, make_picture):
    first, second = make_picture(product), make_picture(product)

    names = [size.name for picture in (first, second) for size in picture.sizes("AVIF")]
    assert len(set(names)) == len(names)


def test_what_is_taken_away_is_gone(
    product, make_picture, settings, django_capture_on_commit_callbacks
):
    picture = make_picture(product)
    kept = make_picture(product)

    with django_capture_on_commit_callbacks(execute=True):
        picture.delete()

    files = {path.name for path in Path(settings.MEDIA_ROOT).rglob("*.*")}
    stems = {path.parent.name for path in Path(settings.MEDIA_ROOT).rglob("*.avif")}
    assert Path(picture.image.name).name not in files
    assert Path(kept.image.name).name in files
    assert stems == {Path(kept.image.name).stem}


def test_sizes_are_made_after_the_commit(product, make_picture, settings):
    """Else SQLite's one place to write would be taken for as long as it takes."""
    Picture.objects.create(
        product=product, image=SimpleUploadedFile("preview.png", file(size=(960, 540)))
    )

    assert list(Path(settings.MEDIA_ROOT).rglob("*.avif")) == []


# How a page shows it


def test_browsers_choose_among_formats_and_sizes(client, product, make_picture):
    picture = make_picture(product, alt="A mountain")
    page = client.get(product.get_absolute_url()).content.decode()

    (shown,) = re.findall(r"<picture>(.*?)</picture>", page, re.DOTALL)
    types = re.findall(r'<source type="([^"]+)"', shown)
    assert types == ["image/avif", "image/webp"]
    assert shown.count("sizes=") == 2
    for size in picture.sizes("AVIF"):
        assert f"{size.url} {size.width}w" in shown
    assert 'width="640" height="360"' in shown
    assert 'alt="A mountain"' in shown


def test_every_address_of_a_page_leads_to_a_picture(client, product, make_picture, settings):
    make_picture(product, (1_300, 700))
    page = client.get(product.get_absolute_url()).content.decode()

    addresses = set(re.findall(r'/media/[^\s"]+', page))

    assert len(addresses) == 2 * 4 + 1
    for address in addresses:
        assert (Path(settings.MEDIA_ROOT) / address.removeprefix("/media/")).exists()


def test_a_picture_without_words_is_told_by_the_product(client, make_product, make_picture):
    product = make_product("Mountain")
    make_picture(product)

    page = client.get(product.get_absolute_url()).content.decode()

    assert 'alt="Preview of Mountain"' in page


def test_pictures_stand_in_the_merchants_order(client, product, make_picture):
    for position in (3, 1, 2):
        make_picture(product, (32, 18), alt=f"Number {position}", position=position)

    page = client.get(product.get_absolute_url()).content.decode()

    assert re.findall(r'<img [^>]*alt="(Number \d)"', page) == ["Number 1", "Number 2", "Number 3"]
    assert product.cover.position == 1


def test_what_is_seen_first_is_loaded_first(client, make_product, make_picture):
    for _ in range(5):
        make_picture(make_product(), (32, 18))

    images = re.findall(r"<img src[^>]*>", client.get("/").content.decode())

    assert ["lazy" in image for image in images] == [False, False, False, True, True]
    assert ['fetchpriority="high"' in image for image in images] == [True, *[False] * 4]


# A shop of before, with one picture to a product
