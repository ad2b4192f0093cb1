"""The six products of Himalaya Prints: four landscapes, a pocket guide and a sound.

What they are called is in products.toml; their files lie beside it, a folder for each.
"""

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Preview:
    """A picture of a product, and what it shows in words."""

    file: Path
    alt: str


@dataclass(frozen=True)
class Good:
    """A product of the demo; `file` is what is sold, `price` is in US dollars."""

    slug: str
    title: str
    description: str
    price: Decimal
    category: str
    file: Path
    pictures: tuple[Preview, ...]


def read(row: dict) -> Good:
    folder = FOLDER / row["slug"]
    pictures = [Preview(folder / each["file"], each["alt"]) for each in row["pictures"]]
    return Good(
        slug=row["slug"],
        title=row["title"],
        description=row["description"],
        price=Decimal(row["price"]),
        category=row["category"],
        file=folder / row["file"],
        pictures=tuple(pictures),
    )


# The newest stands first.
GOODS = tuple(map(read, tomllib.loads((FOLDER / "products.toml").read_text())["products"]))
