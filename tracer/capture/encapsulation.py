"""What bytes are: the numbers by which layers are told apart, and the tags and headers between a link and IP.

A layer is a number: up to 0xFFFF an EtherType, from PROTO on an IP protocol number, from LINK on a link type of the
file, from SPECIAL on an encapsulation that has no number of its own; negative, an outcome. Each function here, in
links.py and in tunnels.py peels one header: from where it begins and where the captured bytes end, to the next layer
and where that begins. It never looks beyond the captured bytes. Written for numba too: see walk.py.
"""

from __future__ import annotations

from typing import Final

from tracer.capture.outcomes import CUT, ENCRYPTED, NOT_IP, TUNNEL
from tracer.capture.walk import Octets

IPV4: Final = 0x0800
IPV6: Final = 0x86DD
PPPOE: Final = 0x8864
"""A PPPoE session, RFC 2516."""
PROTO: Final = 0x1_0000
LINK: Final = 0x2_0000
SPECIAL: Final = 0x8000_0000
ETHERNET: Final = LINK + 1
RAW_IP: Final = LINK + 101
WLAN: Final = LINK + 105
PPP: Final = SPECIAL
LLC: Final = SPECIAL + 1


def be16(buf: Octets, at: int) -> int:
    """The big-endian 16-bit number at ``at``."""
    return buf[at] * 0x100 + buf[at + 1]


def le32(buf: Octets, at: int) -> int:
    """The little-endian 32-bit number at ``at``."""
    return buf[at] + buf[at + 1] * 0x100 + buf[at + 2] * 0x1_0000 + buf[at + 3] * 0x100_0000


def after_type(kind: int) -> int:
    """The layer of an EtherType, or of a length in its place (IEEE 802.3 section 3.2.6)."""
    return LLC if kind <= 1500 else kind


def mpls(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """An MPLS label stack; below it IP by its first nibble, or a pseudowire with a control word (RFC 4385)."""
    while at + 5 <= cut:
        bottom = buf[at + 2] & 1
        at += 4
        if bottom:
            version = buf[at] >> 4
            if version == 4:
                return IPV4, at
            if version == 6:
                return IPV6, at
            return (ETHERNET, at + 4) if version == 0 else (-TUNNEL, at)
    return -CUT, at


def ppp(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """PPP (RFC 1661): address and control may be compressed away, and so may the protocol's first octet."""
    if at + 4 > cut:
        return -CUT, at
    if buf[at] == 0xFF and buf[at + 1] == 3:
        at += 2
    kind = buf[at]
    at += 1
    if not kind & 1:
        kind = kind * 0x100 + buf[at]
        at += 1
    if kind == 0x21:
        return IPV4, at
    if kind == 0x57:
        return IPV6, at
    if kind == 0x281:
        return 0x8847, at
    return (-TUNNEL if kind == 0x3D or kind == 0xFD or kind == 0x2D or kind == 0x2F else -NOT_IP), at


def ether_type(buf: Octets, at: int, cut: int, kind: int) -> tuple[int, int]:
    """What follows an EtherType other than IP: tags and encapsulations are peeled."""
    if kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == 0x9200 or kind == 0x9300:
        return (after_type(be16(buf, at + 2)), at + 4) if at + 4 <= cut else (-CUT, at)
    if kind == 0x8847 or kind == 0x8848:
        return mpls(buf, at, cut)
    if kind == 0x880B:
        return PPP, at
    if kind == 0x8926:  # VN-Tag
        return (after_type(be16(buf, at + 4)), at + 6) if at + 6 <= cut else (-CUT, at)
    if kind == 0x88E7:  # IEEE 802.1ah
        return ETHERNET, at + 4
    if kind == 0x6558:  # transparent Ethernet bridging
        return ETHERNET, at
    return (-ENCRYPTED if kind == 0x88E5 else -NOT_IP), at  # MACsec


KERNELS: Final = (
    "be16",
    "le32",
    "after_type",
    "mpls",
    "ppp",
    "ether_type",
)
"""Functions numba may compile, each after those it calls."""
