"""The electricity companies of Nigeria, by our codes. Providers map these to their own names."""

from types import MappingProxyType
from typing import Final

from billvend.domain.policy.accounts import Biller

BILLERS: Final = (
    Biller("EKEDC", "Eko Electricity Distribution Company"),
    Biller("IKEDC", "Ikeja Electric"),
    Biller("AEDC", "Abuja Electricity Distribution Company"),
    Biller("IBEDC", "Ibadan Electricity Distribution Company"),
    Biller("KEDCO", "Kano Electricity Distribution Company"),
    Biller("PHED", "Port Harcourt Electricity Distribution Company"),
    Biller("JED", "Jos Electricity Distribution Company"),
    Biller("KAEDCO", "Kaduna Electric"),
    Biller("EEDC", "Enugu Electricity Distribution Company"),
    Biller("BEDC", "Benin Electricity Distribution Company"),
    Biller("YEDC", "Yola Electricity Distribution Company"),
    Biller("ABA", "Aba Power"),
)
"""All twelve, each for prepaid and postpaid meters. A provider sells for some or all of them."""

BILLER_BY_CODE: Final = MappingProxyType({biller.code: biller for biller in BILLERS})
