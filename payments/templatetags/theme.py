from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def theme() -> dict:
    """{% theme as theme %}: the merchant's name, logo and colour, on pages without context too."""
    return {
        "name": settings.SHOP_NAME,
        "logo": settings.SHOP_LOGO,
        "accent": settings.SHOP_ACCENT.removeprefix("#"),
    }
