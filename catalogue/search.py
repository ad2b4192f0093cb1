"""Search over title and description: PostgreSQL's full text, a plain fallback elsewhere."""

import re
from functools import reduce
from operator import add, or_

from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector
from django.db import connection
from django.db.models import Case, IntegerField, Q, Value, When
from django.db.models.functions import Cast

from .folding import fold

MAX_LENGTH = 100
# Fewer letters begin half of all words: as a beginning they would find everything, and slowly.
SHORTEST_BEGINNING = 3

# As they stand, and by their stems: neither "The Who" nor "lakes" is lost. The index of migration
# 0004_folded is made of the same words; a test holds the two together.
CONFIGS = ["simple", "english"]
VECTOR = reduce(
    add,
    [
        SearchVector(field, weight=weight, config=config)
        for field, weight in (("folded_title", "A"), ("folded_description", "B"))
        for config in CONFIGS
    ],
)
OPERATORS = re.compile(r'"|(^|\s)-\S|\sor\s', re.IGNORECASE)


def clean(text: str) -> str:
    """What was typed, fit to be shown and, folded, to be searched for."""
    return text.replace("\0", "").strip()[:MAX_LENGTH].strip()


def is_full_text(words: str) -> bool:
    """Whether PostgreSQL's full text has something to look for; it knows no percent signs."""
    return connection.vendor == "postgresql" and bool(re.search(r"[^\W_]", words))


def names(words: str) -> dict:
    """What `matches` calls by a name."""
    return {"vector": VECTOR} if is_full_text(words) else {}


def matches(words: str) -> Q:
    """Every one of the words is in title or description."""
    words = fold(words)
    if is_full_text(words):
        return Q(vector=query(words))
    found = Q()
    for word in words.split():
        found &= within("folded_title", word) | within("folded_description", word)
    return found


def within(field: str, word: str) -> Q:
    """The word or, if it is not too short for that, a part of one; signs are found anywhere."""
    if len(word) < SHORTEST_BEGINNING and word.isalnum():
        return Q(**{f"{field}__iregex": rf"\b{word}\b"})
    return Q(**{f"{field}__icontains": word})


def rank(words: str):
    """How well a product matches, as a whole number: those can be compared for sure."""
    words = fold(words)
    if is_full_text(words):
        return Cast(SearchRank(VECTOR, query(words)) * 1_000_000, IntegerField())
    in_title = Q(*(within("folded_title", word) for word in words.split()))
    return Case(When(in_title, then=Value(1)), default=Value(0)) if in_title else Value(0)


def query(words: str):
    """The words as a search engine reads them; without operators, long ones as beginnings too."""
    searches = [SearchQuery(words, config=each, search_type="websearch") for each in CONFIGS]
    whole = reduce(or_, searches)
    if OPERATORS.search(words):
        return whole
    # Nothing but letters and digits gets into the quotes.
    beginnings = " & ".join(
        f"'{word}'{':*' if len(word) >= SHORTEST_BEGINNING else ''}"
        for word in re.findall(r"[^\W_]+", words)
    )
    return whole | SearchQuery(beginnings, config="simple", search_type="raw")
