import re
import unicodedata

from django import template
from django.utils.html import conditional_escape, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

PARAGRAPH = '<p style="margin:0 0 16px">{}</p>'


@register.filter
def paragraphs(words: SafeString) -> SafeString:
    """{% filter paragraphs %}…{% endfilter %}: what blank lines part, as HTML for mail programs."""
    parts = re.split(r"\n\s*\n", conditional_escape(words).strip())
    rows = [(SafeString(part.strip()),) for part in parts if part]
    return format_html_join("\n", PARAGRAPH, rows)


@register.filter
def isolated(words: str) -> str:
    """{{ line.title|isolated }}: keeps to itself what runs from right to left, like <bdi>"""
    runs_left = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in words)
    return f"\u2068{words}\u2069" if runs_left else words


@register.filter
def masked(email: str) -> str:
    """buyer@example.com → b…@example.com: enough to see a slip, too little for who looks on."""
    name, _, host = email.rpartition("@")
    return f"{name[:1]}…@{host}"
