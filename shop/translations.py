"""The catalogues of translations: `make translations` brings them up to date, without GNU gettext.

Translate in locale/<language>/LC_MESSAGES/django.po and run it again; django.mo is what the shop
reads. Both are committed, so that a shop needs no tools to speak.
"""

import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "locale"
LANGUAGES = ["de", "es"]
# With the time of each run, each run would change the files.
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
SOURCES = {
    "catalogue": [("**.py", "python")],
    "payments": [("**.py", "python")],
    "shop": [("**.py", "python")],
    "templates": [
        ("**.html", "shop.translations:templates"),
        ("**.txt", "shop.translations:templates"),
    ],
}


def templates(file, keywords, comment_tags, options):
    """Babel's way to read a template: Django writes its texts as calls, the rest as names."""
    calls = templatize(file.read().decode())
    # A template's indentation is not Python's.
    lines = re.sub(r"^[ \t]+", "", calls, flags=re.MULTILINE)
    return extract_python(BytesIO(lines.encode()), keywords, comment_tags, options)


def in_the_sources() -> Catalog:
    """Every text for people, as it stands in the code and the templates."""
    catalog = Catalog(fuzzy=False)
    for folder, methods in SOURCES.items():
        found = extract_from_dir(
            ROOT / folder, methods, keywords=KEYWORDS, comment_tags=["Translators"]
        )
        for name, _, text, comments, context in sorted(found, key=lambda found: found[:2]):
            where = [(f"{folder}/{name}", 0)]
            catalog.add(text, "", where, auto_comments=comments, context=context)
    return catalog


def forms(text) -> tuple[str, ...]:
    """One text, or singular and plural."""
    return (text,) if isinstance(text, str) else tuple(text)


def is_translated(message) -> bool:
    return all(forms(message.string))


def po_file(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def translated(language: str) -> Catalog:
    with po_file(language).open("rb") as file:
        return read_po(file, locale=language)


def update(language: str) -> Catalog:
    """Takes in what is new in the sources, drops what is gone, and keeps every translation."""
    path = po_file(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = in_the_sources()
    catalog = translated(language) if path.exists() else Catalog(language)
    catalog.update(sources, no_fuzzy_matching=True)
    catalog.fuzzy = False
    catalog.header_comment = (
        "# What shoppers read. `make translations` takes in new texts, and this file."
    )
    catalog.project, catalog.version = "The shop", "1"
    catalog.last_translator = catalog.language_team = catalog.msgid_bugs_address = "nobody"
    catalog.creation_date = catalog.revision_date = LONG_AGO
    with path.open("wb") as file:
        write_po(
            file,
            catalog,
            width=100,
            omit_header=False,
            sort_by_file=True,
            ignore_obsolete=True,
            include_lineno=False,
        )
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalog)
    return catalog


if __name__ == "__main__":
    for language in LANGUAGES:
        catalog = update(language)
        missing = sum(not is_translated(message) for message in catalog if message.id)
        print(f"{language}: {len(catalog)} texts, {missing} not translated")
