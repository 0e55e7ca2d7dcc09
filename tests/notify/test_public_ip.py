"""Which addresses are out on the internet."""

import pytest

from billvend.adapters.notify.public_ip import is_public

PUBLIC = [
    *("8.8.8.8", "41.203.64.1", "172.15.255.255", "172.32.0.0", "192.0.1.1", "100.63.255.255", "100.128.0.0"),
    *("2606:4700::1111", "2c0f:f248::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::5efe:8.8.8.8"),
]
PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "0.0.0.0"),  # noqa: S104
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1"),
    *("64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::10.0.0.1", "2002:7f00:1::1", "2002:a9fe:a9fe::"),
    *("192.88.99.1", "3fff::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:7f00:1"),
    *("2001:0:808:808:0:0:f5ff:fffe",),  # Teredo, for 10.0.0.1 behind it
    *("", "localhost", "127.1", "2130706433", "0x7f.1", "shop.example"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "expected"), [*((each, True) for each in PUBLIC), *((each, False) for each in PRIVATE)]
)
def test_only_addresses_of_the_internet_are_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected
