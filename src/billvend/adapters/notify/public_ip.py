"""Which IP addresses belong to the public internet."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

NAT64: Final = IPv6Network("64:ff9b::/96")
"""An IPv4 address is the end of each of these (RFC 6052): how networks without IPv4 reach it."""

ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""What stands before an IPv4 address in the lower half of these (RFC 5214, 6.1)."""
RESERVED_NETWORKS: Final = (IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))
"""Global to Python, and yet no host's: relays to IPv6 of old (RFC 7526), and what examples are written with (RFC 9637)."""


def is_public(address: str) -> bool:
    """Whether anybody on the internet may have this address: not private, loopback, link-local, multicast or reserved.

    An IPv6 address that only wraps an IPv4 one, in any of five ways, is judged by that. What is no address is not public.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and (inner := _embedded_ipv4(found)) is not None:
        found = inner
    # Each of these is asked by itself: to Python, 224.0.0.1 is global, and so was ::ffff:127.0.0.1 for years.
    reserved = (
        found.is_private, found.is_loopback, found.is_link_local, found.is_multicast, found.is_reserved,
        found.is_unspecified, isinstance(found, IPv6Address) and found.is_site_local,
    )  # fmt: skip
    return (
        found.is_global and not any(reserved) and not any(found in network for network in RESERVED_NETWORKS)
    )


def allow_any(_address: str) -> bool:
    """Whether an address is one: for those who send webhooks into their own network."""
    return True


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo is not None:
        return address.teredo[1]
    if int(address) >> 32 & 0xFFFF_FFFF in ISATAP:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
