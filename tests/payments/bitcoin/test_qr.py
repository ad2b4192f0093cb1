"""QR codes, read as a phone reads them."""

import pytest

from payments.bitcoin import qr
from tests.payments.bitcoin.scanner import read_qr_code


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", str.upper),
        ("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr", str.upper),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", str),  # base58 tells capitals apart
        ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", str),
    ],
)
def test_only_addresses_that_may_be_are_written_in_capitals(address, written):
    assert (
        read_qr_code(qr.of_payment(address, 1)) == f"bitcoin:{written(address)}?amount=0.00000001"
    )


def test_capitals_and_parts_make_the_code_coarse_enough_for_an_old_phone():
    svg = qr.of_payment("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", 1_234_567_890)

    assert 'viewBox="0 0 41 41"' in svg  # 33 dots in a row, and the quiet border
