"""The providers' names for the electricity companies."""

from types import MappingProxyType
from typing import Final

SERVICE_ID_BY_BILLER: Final = MappingProxyType(
    {
        "EKEDC": "eko-electric",
        "IKEDC": "ikeja-electric",
        "AEDC": "abuja-electric",
        "IBEDC": "ibadan-electric",
        "KEDCO": "kano-electric",
        "PHED": "portharcourt-electric",
        "JED": "jos-electric",
        "KAEDCO": "kaduna-electric",
        "EEDC": "enugu-electric",
        "BEDC": "benin-electric",
        "YEDC": "yola-electric",
        "ABA": "aba-electric",
    }
)
"""VTpass's `serviceID`, by our code."""

DISCO_BY_BILLER: Final = MappingProxyType(
    {
        "EKEDC": "EKO",
        "IKEDC": "IKEJA",
        "AEDC": "ABUJA",
        "IBEDC": "IBADAN",
        "KEDCO": "KANO",
        "PHED": "PH",
        "JED": "JOS",
        "KAEDCO": "KADUNA",
        "EEDC": "ENUGU",
        "BEDC": "BENIN",
        "YEDC": "YOLA",
        "ABA": "APLE",
    }
)
"""BuyPower's `disco`, by our code."""

BILLER_BY_SERVICE_ID: Final = MappingProxyType(
    {service: code for code, service in SERVICE_ID_BY_BILLER.items()}
)
BILLER_BY_DISCO: Final = MappingProxyType({disco: code for code, disco in DISCO_BY_BILLER.items()})
