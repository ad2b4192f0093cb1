"""Pictures that everybody may see: which are taken in, and the sizes that are made of them."""

import io
import secrets
from functools import partial
from pathlib import PurePath

from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import transaction
from django.utils.text import slugify
from pictures.models import PillowPicture
from pictures.tasks import process_picture
from PIL import Image

# Other formats are not even tried: Pillow starts a PostScript interpreter for some.
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF"]
MAX_BYTES = 20 * 1024 * 1024
# Some four bytes of memory each while the sizes are made.
MAX_PIXELS = 50_000_000

# Pillow's own defaults make an AVIF larger than the WebP that it should spare.
QUALITY = {
    "AVIF": {"quality": 50, "speed": 8},
    "WEBP": {"quality": 78, "method": 4},
    "JPEG": {"quality": 82, "progressive": True, "optimize": True},
}


def path_of(picture, filename: str) -> str:
    """Where an upload is kept: readable, and no other picture's sizes lie beside it."""
    name = PurePath(filename)
    stem = slugify(name.stem)[:50] or "picture"
    return f"products/{stem}-{secrets.token_hex(4)}{name.suffix.lower()}"


def check(upload) -> None:
    """ValidationError unless every size can be made of the upload: it is read in full."""
    if upload.size > MAX_BYTES:
        raise ValidationError(f"The picture is larger than {MAX_BYTES // 1024**2} MB.")
    upload.seek(0)
    try:
        with Image.open(upload, formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels <= MAX_PIXELS:
                PillowPicture.pre_process(image)
    except Exception as error:  # whatever Pillow makes of a broken file
        raise ValidationError(
            f"This cannot be read as a picture. It may be one of {', '.join(FORMATS)}."
        ) from error
    finally:
        upload.seek(0)
    if pixels > MAX_PIXELS:
        raise ValidationError(
            f"The picture has {pixels // 1_000_000} megapixels; "
            f"{MAX_PIXELS // 1_000_000} are the most."
        )


class Size(PillowPicture):
    """One width of a picture in one format, a file beside the original."""

    def save(self, image):
        resized = self.resize(image)
        file = io.BytesIO()
        # Neither place nor camera of a merchant's photograph are anybody's business.
        resized.save(file, self.file_type, exif=b"", icc_profile=b"", **QUALITY[self.file_type])
        self.storage.delete(self.name)
        self.storage.save(self.name, ContentFile(file.getvalue()))


def make_sizes(**what):
    """Makes and removes the files of a picture's sizes after the commit.

    It takes seconds; in the transaction, SQLite's one place to write would be taken meanwhile.
    """
    transaction.on_commit(partial(process_picture, **what), robust=True)
