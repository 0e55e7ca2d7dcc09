from billvend.adapters.providers.billers import BILLER_BY_CODE, BILLERS
from billvend.domain.enums import VendType


def test_billers_are_the_twelve_of_nigeria() -> None:
    codes = [
        "EKEDC",
        "IKEDC",
        "AEDC",
        "IBEDC",
        "KEDCO",
        "PHED",
        "JED",
        "KAEDCO",
        "EEDC",
        "BEDC",
        "YEDC",
        "ABA",
    ]
    assert [biller.code for biller in BILLERS] == codes
    assert list(BILLER_BY_CODE) == codes
    assert len({biller.name for biller in BILLERS}) == 12
    assert all(set(biller.vend_types) == set(VendType) for biller in BILLERS)
