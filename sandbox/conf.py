"""What a project may set for the sandbox; all else is a row that the verb `settings` changes."""

from django.conf import settings

# The public half of a key for a TEST network, so that nobody loses bitcoin in a demo. Its seed is
# the SHA-256 of "a shop window full of paper mountains", the path m/84'/1'/0'.
TEST_KEY = (
    "vpub5ZAjSNpvVF14jBiFGMcyRYg1tVGtv9DzugDGTUSgfzZkL42sS52YxCzQHHywjLNLUpZeknLrEc5wuSXKjfYP"
    "pCx5VQAXn4v9F7ET8AW36w3"
)


def api_keys():
    """The API keys that are let in; each is an account of its own."""
    return [key for key in getattr(settings, "SANDBOX_API_KEYS", ["sandbox-api-key"]) if key]


def block_seconds():
    """How often a block is mined by itself, in seconds; 0 is never."""
    return getattr(settings, "SANDBOX_BLOCK_SECONDS", 0)


def ca_bundle():
    """A file of the authorities that sign the certificates of shops; "" is the public ones."""
    return getattr(settings, "SANDBOX_CA_BUNDLE", "")


def xpub():
    """The extended public key of the wallet that `sandbox_setup` makes."""
    return getattr(settings, "SANDBOX_XPUB", "") or TEST_KEY
