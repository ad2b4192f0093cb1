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
    """The receive branch of a key; addresses are derived as far as they are asked for, once.

    They are compared as what stands in the chain, so that the key's own network (tpub for test,
    signet and regtest alike) makes no difference; `addresses.is_valid` looks after that.
    """

    def __init__(self, xpub: str):
        kind, _, key = read(xpub)
        self.script = SCRIPTS[kind]
        self.branch = key.derive([RECEIVE_BRANCH])
        self.indices: dict[bytes, int] = {}

    def index_of(self, address: str, window: int) -> int | None:
        """Where among the first `window` addresses this one is; None if nowhere."""
        try:
            wanted = script.address_to_scriptpubkey(address).data
        except Exception:  # embit raises what it likes
            return None
        while wanted not in self.indices and len(self.indices) < window:
            index = len(self.indices)
            self.indices[self.script(self.branch.derive([index])).data] = index
        index = self.indices.get(wanted)
        return index if index is not None and index < window else None


def read(xpub: str) -> tuple[str, dict, bip32.HDKey]:
    """Kind (xpub, ypub, zpub), network and key; raises NotAKey."""
    try:
        kind, network = KINDS[base58.decode_check(xpub)[:4]]
        key = bip32.HDKey.from_base58(xpub)
    except Exception as error:  # embit raises what it likes
        raise NotAKey("That is no xpub, ypub or zpub (or tpub, upub, vpub).") from error
    return kind, network, key


def fits(xpub: str, network: str) -> bool:
    """Whether coins with a worth go with a key of the main network, and play money with another."""
    return (read(xpub)[1] is NETWORKS["main"]) == (network == "main")


@lru_cache(maxsize=4)
def branch(xpub: str) -> Branch:
    return Branch(xpub)


def owns(xpub: str, address: str, window: int) -> bool:
    """Whether the address is one of the first `window` of the key's receive branch."""
    return branch(xpub).index_of(address, window) is not None


def is_same(one: str, other: str) -> bool:
    """Whether two keys derive the same, however their kind is written."""
    try:
        (_, _, ours), (_, _, theirs) = read(one), read(other)
    except NotAKey:
        return False
    return (ours.key, ours.chain_code) == (theirs.key, theirs.chain_code)
