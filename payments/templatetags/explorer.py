from django import template

from payments import explorer

register = template.Library()


@register.filter
def explorer_url(txid: str) -> str:
    """{{ payment.txid|explorer_url }} → https://…, or nothing where no explorer is set"""
    return explorer.url(txid)
