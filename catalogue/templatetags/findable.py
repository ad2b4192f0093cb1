"""What search engines and messengers read of a page."""

import json

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from payments.templatetags.money import plain_fiat

register = template.Library()

# As Django's json_script: nothing in a text may end the element, or begin another.
ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


@register.filter
def absolute(path: str) -> str:
    """{{ product.get_absolute_url|absolute }} → https://shop.example.com/products/mountain/"""
    return path if "://" in path else f"{settings.SITE_URL}{path}"


@register.simple_tag
def product_data(product):
    """The product in the words of schema.org, as data: no browser runs it as a script."""
    url = absolute(product.get_absolute_url())
    state = "SoldOut" if product.sold_out else "InStock"
    data = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": product.title,
        "sku": product.slug,
        "url": url,
        "offers": {
            "@type": "Offer",
            "url": url,
            "price": plain_fiat(product.price),
            "priceCurrency": settings.SHOP_CURRENCY,
            "availability": f"https://schema.org/{state}",
        },
    }
    if product.summary:
        data["description"] = product.summary
    if images := [absolute(picture.url) for picture in product.pictures.all()]:
        data["image"] = images
    if product.category:
        data["category"] = product.category.title
    text = json.dumps(data, ensure_ascii=False).translate(ESCAPES)
    return format_html('<script type="application/ld+json">{}</script>', mark_safe(text))  # noqa: S308
