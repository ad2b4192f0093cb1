"""The merchant's own extended public key: which addresses are its own, by embit."""

from functools import lru_cache

from embit import base58, bip32, script
from embit.networks import NETWORKS

RECEIVE_BRANCH = 0

# The version bytes of an extended public key say how its addresses are written (BIP44, 49, 84).
SCRIPTS = {
    "xpub": script.p2pkh,
    "ypub": lambda key: script.p2sh(script.p2wpkh(key)),
    "zpub": script.p2wpkh,
}
KINDS = {
    network[prefix]: (prefix, network)
    for network in (NETWORKS["main"], NETWORKS["test"])
    for prefix in SCRIPTS
}


class NotAKey(ValueError):
    """It is no extended public key of a kind known here."""


class Branch:
    """The receive branch of a key; addresses are derived as far as they are asked for, once."""

    def __init__(self, xpub: str):
        kind, self.network, self.key = read(xpub)
        self.script = SCRIPTS[kind]
        self.branch = self.key.derive([RECEIVE_BRANCH])
        self.indices: dict[str, int] = {}

    def index_of(self, address: str, window: int) -> int | None:
        """Where among the first `window` addresses this one is; None if nowhere."""
        while address not in self.indices and len(self.indices) < window:
            index = len(self.indices)
            derived = self.script(self.branch.derive([index])).address(self.network)
            self.indices[derived] = index
        return self.indices.get(address)


def read(xpub: str) -> tuple[str, dict, bip32.HDKey]:
    """Kind (xpub, ypub, zpub), network and key; raises NotAKey."""
    try:
        kind, network = KINDS[base58.decode_check(xpub)[:4]]
        key = bip32.HDKey.from_base58(xpub)
    except Exception as error:  # embit raises what it likes
        raise NotAKey("That is no xpub, ypub or zpub (or tpub, upub, vpub).") from error
    return kind, network, key


@lru_cache(maxsize=4)
def branch(xpub: str) -> Branch:
    return Branch(xpub)


def owns(xpub: str, address: str, window: int) -> bool:
    """Whether the address is one of the first `window` of the key's receive branch."""
    return branch(xpub).index_of(address, window) is not None


def is_same(one: str, other: str) -> bool:
    """Whether two keys are the same, however their kind is written."""
    try:
        return read(one)[2].key == read(other)[2].key
    except NotAKey:
        return False
