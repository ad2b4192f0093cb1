"""Bitcoin itself: what its addresses, keys, payment links and amounts look like.

Only this package, the providers and the templates below `payments/pay/` know of it.
"""

from payments.money import Asset

BITCOIN = Asset("BTC", 8)
MAX_SATOSHIS = 21_000_000 * 10**BITCOIN.decimals
