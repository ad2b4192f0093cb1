"""What search engines read: where to look, and where not."""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sitemaps import Sitemap
from django.contrib.sitemaps.views import sitemap as list_pages
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from payments.models import Category, Product

# What is one visitor's own, or the merchant's.
PRIVATE = ["/payments/", "/basket/", "/admin/", "/sandbox/"]


class OurSitemap(Sitemap):
    """At the address that the merchant gave the shop, whatever a visitor's request says."""

    protocol = urlsplit(settings.SITE_URL).scheme
    # As many as one file may list.
    limit = 50_000

    def get_domain(self, site=None):
        return urlsplit(settings.SITE_URL).netloc


class ShelfSitemap(OurSitemap):
    def items(self):
        return ["payments:shelf"]

    def location(self, item):
        return reverse(item)


class CategorySitemap(OurSitemap):
    def items(self):
        return Category.objects.in_use()


class ProductSitemap(OurSitemap):
    def items(self):
        return Product.objects.on_sale().only("slug", "updated_at")

    def lastmod(self, product):
        return product.updated_at


@require_safe
def sitemap(request):
    """Each page that may be found, at most 50,000 products to a file (`?p=2` is the next)."""
    kinds = {"shelf": ShelfSitemap, "categories": CategorySitemap, "products": ProductSitemap}
    return list_pages(request, kinds)


@require_safe
def robots(request):
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in PRIVATE)]
    lines += ["", f"Sitemap: {settings.SITE_URL}{reverse('payments:sitemap')}", ""]
    return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8")
