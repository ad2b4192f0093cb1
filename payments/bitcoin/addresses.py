"""Which strings are bitcoin addresses: checksums and networks, by embit."""

from embit import base58, bech32
from embit.networks import NETWORKS

# Witness version 0 pays a key hash or a script hash, version 1 (taproot) a key.
PROGRAM_LENGTHS = {0: (20, 32), 1: (32,)}


def is_valid(address: str, network: str = "main") -> bool:
    """Whether `address` has a right checksum and belongs to `network`.

    The networks are main, test, signet and regtest; the kinds base58check (1…, 3…), bech32 (bc1q…)
    and bech32m (bc1p…). Witness versions without a meaning yet are refused: what is paid to them,
    anyone could spend.
    """
    return _is_segwit(address, NETWORKS[network]) or _is_base58(address, NETWORKS[network])


def normalize(address: str) -> str:
    """The one spelling of an address: bech32 may be written in capitals, base58 may not."""
    is_bech32 = any(
        address.lower().startswith(network["bech32"] + "1") for network in NETWORKS.values()
    )
    return address.lower() if is_bech32 else address


def _is_segwit(address: str, network: dict) -> bool:
    version, program = bech32.decode(network["bech32"], address)
    return program is not None and len(program) in PROGRAM_LENGTHS.get(version, ())


def _is_base58(address: str, network: dict) -> bool:
    try:
        payload = base58.decode_check(address)
    except Exception:  # embit raises what it likes; each of it means "no"
        return False
    return len(payload) == 21 and payload[:1] in (network["p2pkh"], network["p2sh"])
