"""What search engines read: where to look, and where not."""

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sitemaps import Sitemap
from django.contrib.sitemaps.views import SitemapIndexItem, x_robots_tag
from django.contrib.sitemaps.views import sitemap as list_pages
from django.core.cache import caches
from django.http import Http404, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from .models import Category, Product

# What is one visitor's own, or the merchant's. Invoices are not among it: they say `noindex`, which
# only who may fetch a page can read.
PRIVATE = ["/payments/create/", "/payments/callback/", "/basket/", "/admin/", "/sandbox/"]

SITEMAP_SECONDS = 300


class OurSitemap(Sitemap):
    """At the address that the merchant gave the shop, whatever a visitor's request says."""

    protocol = urlsplit(settings.SITE_URL).scheme
    # A file may list 50,000, which would take long to make.
    limit = 5_000

    def get_domain(self, site=None):
        return urlsplit(settings.SITE_URL).netloc


class CatalogueSitemap(OurSitemap):
    def items(self):
        return ["catalogue:product_list"]

    def location(self, item):
        return reverse(item)


class CategorySitemap(OurSitemap):
    def items(self):
        return Category.objects.in_use()


class ProductSitemap(OurSitemap):
    def items(self):
        return Product.objects.on_sale().only("slug", "updated_at").order_by("pk")

    def lastmod(self, product):
        return product.updated_at


# The first one's name stands in an address that search engines know.
SECTIONS = {"shelf": CatalogueSitemap, "categories": CategorySitemap, "products": ProductSitemap}


# These name no visitor and set no cookie, so that one answer is good for all.
@require_safe
@cache_control(max_age=SITEMAP_SECONDS)
@x_robots_tag
def sitemap(request):
    """The list of the lists: a file for each section, and for every 5,000 of its pages one more.

    Django's own view would name the host that the visitor asked for.
    """
    content = caches["strangers"].get_or_set("sitemap", sections_in_words, SITEMAP_SECONDS)
    return HttpResponse(content, content_type="application/xml")


def sections_in_words() -> str:
    files = []
    for name, section in SECTIONS.items():
        url = settings.SITE_URL + reverse("catalogue:sitemap_section", args=[name])
        pages = section().paginator.page_range
        files += [SitemapIndexItem(url if page == 1 else f"{url}?p={page}") for page in pages]
    return render_to_string("sitemap_index.xml", {"sitemaps": files})


@require_safe
@cache_control(max_age=SITEMAP_SECONDS)
@x_robots_tag
def sitemap_section(request, section):
    """The pages of one section that may be found, 5,000 to a file (`?p=2` is the next).

    Kept by section and page, whatever else is asked for: nobody fills the cache with questions.
    """
    given = request.GET.get("p", "1")
    if not re.fullmatch(r"[1-9][0-9]{0,7}", given, re.ASCII):
        raise Http404
    cache, name = caches["strangers"], f"sitemap-{section}-{given}"
    content = cache.get(name)
    if content is None:
        content = list_pages(request, SECTIONS, section=section).render().content
        cache.set(name, content, SITEMAP_SECONDS)
    return HttpResponse(content, content_type="application/xml")


@require_safe
def robots(request):
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in PRIVATE)]
    lines += ["", f"Sitemap: {settings.SITE_URL}{reverse('catalogue:sitemap')}", ""]
    return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8")
