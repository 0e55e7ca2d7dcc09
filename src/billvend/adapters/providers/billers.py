"""The electricity companies of Nigeria, and the providers' names for them."""

from types import MappingProxyType
from typing import Final

from billvend.domain.policy.accounts import Biller

_TABLE: Final[tuple[tuple[str, str, str | None, str | None], ...]] = (
    # our code, name, VTpass's serviceID, BuyPower's disco; None if the provider does not sell for it
    ("EKEDC", "Eko Electricity Distribution Company", "eko-electric", "EKO"),
    ("IKEDC", "Ikeja Electric", "ikeja-electric", "IKEJA"),
    ("AEDC", "Abuja Electricity Distribution Company", "abuja-electric", "ABUJA"),
    ("IBEDC", "Ibadan Electricity Distribution Company", "ibadan-electric", "IBADAN"),
    ("KEDCO", "Kano Electricity Distribution Company", "kano-electric", "KANO"),
    ("PHED", "Port Harcourt Electricity Distribution Company", "portharcourt-electric", "PH"),
    ("JED", "Jos Electricity Distribution Company", "jos-electric", "JOS"),
    ("KAEDCO", "Kaduna Electric", "kaduna-electric", "KADUNA"),
    ("EEDC", "Enugu Electricity Distribution Company", "enugu-electric", "ENUGU"),
    ("BEDC", "Benin Electricity Distribution Company", "benin-electric", "BENIN"),
    ("YEDC", "Yola Electricity Distribution Company", "yola-electric", "YOLA"),
    ("ABA", "Aba Power", "aba-electric", "APLE"),  # BuyPower lists it among the private estates
)
BILLERS: Final = tuple(Biller(code, name) for code, name, _, _ in _TABLE)
"""All twelve, each for prepaid and postpaid meters. A provider sells for some or all of them."""
BILLER_BY_CODE: Final = MappingProxyType({biller.code: biller for biller in BILLERS})
SERVICE_ID_BY_BILLER: Final = MappingProxyType({code: service for code, _, service, _ in _TABLE if service})
"""VTpass's serviceID of each electricity company, by our code."""
DISCO_BY_BILLER: Final = MappingProxyType({code: disco for code, _, _, disco in _TABLE if disco})
"""BuyPower's names for the electricity companies, by our codes."""
