"""Which IP addresses belong to the public internet."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

NAT64: Final = IPv6Network("64:ff9b::/96")
"""Addresses that end in an IPv4 address (RFC 6052). Networks without IPv4 reach IPv4 hosts through them."""

ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The 32 bits before the IPv4 address at the end of an ISATAP address (RFC 5214, 6.1)."""
RESERVED_NETWORKS: Final = (IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))
"""Global to Python, but of no host: the former 6to4 relays (RFC 7526) and addresses for documentation (RFC 9637)."""


def is_public(address: str) -> bool:
    """Whether this is an address of the public internet: not private, loopback, link-local, multicast or reserved.

    An IPv6 address that embeds an IPv4 address, in any of five ways, is public if the IPv4 address is. Text that is no
    address is not public.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        found = _embedded_ipv4(found) or found
    # Each property is checked, not only `is_global`: to Python, 224.0.0.1 is global, and so was ::ffff:127.0.0.1 for years.
    is_reserved = (
        found.is_private or found.is_loopback or found.is_link_local or found.is_multicast or found.is_reserved
        or found.is_unspecified or (isinstance(found, IPv6Address) and found.is_site_local)
        or any(found in network for network in RESERVED_NETWORKS)
    )  # fmt: skip
    return found.is_global and not is_reserved


def allow_any(_address: str) -> bool:
    """True for any address: for webhooks into the operator's own network."""
    return True


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo is not None:
        return address.teredo[1]
    if int(address) >> 32 & 0xFFFF_FFFF in ISATAP:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
