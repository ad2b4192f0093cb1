"""Links to a block explorer of the merchant's choice. The shop itself never asks one."""

import re

from django.conf import settings

# An https address with one {txid} behind its host, and nothing that could lead out of an attribute.
PATTERN = re.compile(
    r"https://[\w.-]+(?::[0-9]{1,5})?/[\w./?=&#~+:@%-]*\{txid\}[\w./?=&#~+:@%-]*", re.ASCII
)
TXID = re.compile(r"[0-9a-f]{64}")


def url(txid: str) -> str:
    """Where people can look at the transaction; empty without an explorer, or for what is no txid.

    A store in test mode at Blockonomics makes up ids that no explorer knows.
    """
    if not TXID.fullmatch(txid) or not PATTERN.fullmatch(settings.BLOCK_EXPLORER):
        return ""
    return settings.BLOCK_EXPLORER.replace("{txid}", txid)
