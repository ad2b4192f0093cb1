"""The catalogue in pages: each begins after the last product of the one before it.

No page is counted and none skipped over, so the thousandth costs what the first does.
"""

import re
from dataclasses import dataclass

from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from . import search
from .models import Product

PRODUCTS_PER_PAGE = 12


@dataclass(frozen=True)
class Sort:
    """An order of the catalogue; among equals the newer product stands where the newest would."""

    label: str | Promise
    place: Combinable
    descending: bool = False

    @property
    def order(self) -> list:
        if self.descending:
            return [F("place").desc(), "-pk"]
        return [F("place").asc(), "pk"]

    def beyond(self, place, pk: int) -> Q:
        """What comes after a product that has this place.

        The first condition says no more than the second, but an index can begin with it.
        """
        verb = "lt" if self.descending else "gt"
        return Q(**{f"place__{verb}e": place}) & (
            Q(**{f"place__{verb}": place}) | Q(**{f"pk__{verb}": pk})
        )

    def reversed(self) -> "Sort":
        return Sort(self.label, self.place, not self.descending)


def sorts(words: str) -> dict[str, Sort]:
    """The orders to choose from, the usual one first."""
    found = {"match": Sort(_("Best match"), search.rank(words), descending=True)} if words else {}
    return found | {
        "newest": Sort(_("Newest"), F("created_at"), descending=True),
        "price": Sort(_("Lowest price"), F("price")),
        "-price": Sort(_("Highest price"), F("price"), descending=True),
        "title": Sort(_("By title"), F("folded_title")),
    }


@dataclass(frozen=True)
class Page:
    """Some products; `before` and `after` are where the neighbouring pages begin, if there are."""

    products: list[Product]
    before: int | None
    after: int | None


def page(products, sort: Sort, after: str = "", before: str = "") -> Page:
    """The products after one of them, or before it; the first ones if it is not known."""
    backwards = bool(before and not after)
    anchor = anchored(sort, after or before)
    if anchor is None:
        backwards = False
    direction = sort.reversed() if backwards else sort
    rows = products.alias(place=sort.place)
    if anchor is not None:
        rows = rows.filter(direction.beyond(*anchor))
    found = list(rows.order_by(*direction.order)[: PRODUCTS_PER_PAGE + 1])
    more, found = len(found) > PRODUCTS_PER_PAGE, found[:PRODUCTS_PER_PAGE]
    if backwards:
        found.reverse()
    if not found:
        return Page([], None, None)
    earlier = more if backwards else anchor is not None
    later = backwards or more
    return Page(found, found[0].pk if earlier else None, found[-1].pk if later else None)


def anchored(sort: Sort, pk: str):
    """The place and the number of that product, None if there is none such."""
    if not re.fullmatch(r"[0-9]{1,18}", pk, re.ASCII):
        return None
    return Product.objects.filter(pk=pk).values_list(sort.place, "pk").first()
