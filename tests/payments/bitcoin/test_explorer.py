"""Links to a block explorer."""

import pytest

from payments.bitcoin import explorer
from tests.conftest import txid


def test_a_transaction_has_a_link(settings):
    settings.BLOCK_EXPLORER = "https://mempool.space/tx/{txid}"

    assert explorer.url(txid(1)) == f"https://mempool.space/tx/{txid(1)}"


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "http://mempool.space/tx/{txid}",
        "https://mempool.space/tx/",
        'https://mempool.space/"><script>/{txid}',
        "javascript:alert('{txid}')",
        "https://{txid}.example/",
        "https://mempool.space/{txid}\n",
    ],
)
def test_what_is_no_explorer_makes_no_link(settings, setting):
    settings.BLOCK_EXPLORER = setting

    assert explorer.url(txid(1)) == ""


@pytest.mark.parametrize(
    "given", ["", "WarningThisIsAGeneratedTestPaymentID", txid(1)[1:], txid(1) + "\n", "../" * 20]
)
def test_what_is_no_transaction_id_makes_no_link(settings, given):
    settings.BLOCK_EXPLORER = "https://mempool.space/tx/{txid}"

    assert explorer.url(given) == ""
