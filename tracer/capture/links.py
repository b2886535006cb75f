"""Link layers: the header that the capture's link type puts before everything else.

Numbers are the LINKTYPE_ registry's; names for all, decoded or not, are in linktypes.py.
"""

from __future__ import annotations

from typing import Final

from tracer.capture.encapsulation import (
    ETHERNET,
    IPV4,
    IPV6,
    LINK,
    LLC,
    PPP,
    PPPOE,
    RAW_IP,
    WLAN,
    after_type,
    be16,
    le32,
)
from tracer.capture.outcomes import CUT, ENCRYPTED, NOT_IP, TUNNEL
from tracer.capture.outcomes import LINK as LINK_UNKNOWN
from tracer.capture.walk import Octets


def radiotap(buf: Octets, at: int, cut: int) -> tuple[int, int, int]:
    """A radiotap header: (layer, where, bytes by which 802.11 headers are padded)."""
    if at + 8 > cut:
        return -CUT, at, 0
    length = buf[at + 2] | buf[at + 3] * 0x100
    present = le32(buf, at + 4)
    field = at + 4
    while field + 4 <= cut and le32(buf, field) & 0x8000_0000:
        field += 4
    field += 4
    pad = 0
    if present & 1:
        field = at + (field - at + 7) // 8 * 8 + 8
    if present & 2 and field < cut and buf[field] & 0x20:
        pad = 4
    return WLAN, at + length, pad


def wlan(buf: Octets, at: int, cut: int, pad: int) -> tuple[int, int]:
    """An IEEE 802.11 frame: only plain data frames go on (section 9.2)."""
    if at + 24 > cut:
        return -NOT_IP, at
    control = buf[at]
    flags = buf[at + 1]
    if control & 0x0F != 0x08 or control & 0x40:
        return -NOT_IP, at  # management, control, or data without data
    if flags & 0x40:
        return -ENCRYPTED, at
    header = 24
    if flags & 3 == 3:
        header += 6
    if control & 0x80:
        if at + header + 2 > cut:
            return -CUT, at
        if buf[at + header] & 0x80:
            return -TUNNEL, at  # A-MSDU: several packets in one frame
        header += 6 if flags & 0x80 else 2
    if flags & 4 and at + header < cut and buf[at + header] != 0xAA:
        return -NOT_IP, at  # a middle fragment of an MSDU may start with anything
    if pad:
        header = (header + 3) // 4 * 4
    return LLC, at + header


def nflog(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """LINKTYPE_NFLOG: type-length-values, of which type 9 is the packet."""
    at += 4
    while at + 4 <= cut:
        size = buf[at] + buf[at + 1] * 0x100
        if buf[at + 2] + buf[at + 3] * 0x100 == 9:
            return RAW_IP, at + 4
        if size < 4:
            return -NOT_IP, at
        at += (size + 3) // 4 * 4
    return -CUT, at


def frame_relay(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """LINKTYPE_FRELAY: Q.922 address, UI, NLPID (RFC 2427)."""
    while at < cut and not buf[at] & 1:
        at += 1
    at += 1
    if at + 4 > cut:
        return -CUT, at
    if buf[at] != 3:
        return after_type(be16(buf, at)), at + 2  # Cisco's encapsulation: an EtherType at once
    at += 1
    if buf[at] == 0:
        at += 1
    nlpid = buf[at]
    if nlpid == 0xCC or nlpid == 0x8E:
        return RAW_IP, at + 1
    if nlpid == 0x80 and at + 6 <= cut:
        return after_type(be16(buf, at + 4)), at + 6
    return -NOT_IP, at


def link_layer(buf: Octets, at: int, cut: int, link: int) -> tuple[int, int]:
    """What follows the header of a link type: (layer, where). Numbers: LINKTYPE_ as the tcpdump group assigns them."""
    if at + 4 > cut:
        return -CUT, at
    size = 0
    kind = 0
    if link == 1:  # ETHERNET
        size = 14
        kind = 12
    elif link == 12 or link == 14 or link == 101 or link == 228 or link == 229:  # RAW, IPV4, IPV6
        version = buf[at] >> 4
        if version == 4:
            return IPV4, at
        return (IPV6, at) if version == 6 else (-NOT_IP, at)
    elif link == 0 or link == 108:  # NULL in the writer's byte order, LOOP in the network's
        family = le32(buf, at)
        if family > 0xFFFF:
            family = be16(buf, at + 2)
        if family == 2:
            return IPV4, at + 4
        if family == 10 or family == 23 or family == 24 or family == 28 or family == 30:
            return IPV6, at + 4  # AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin
        return -NOT_IP, at
    elif link == 113:  # LINUX_SLL
        size = 16
        kind = 14
    elif link == 276:  # LINUX_SLL2
        size = 20
    elif link == 9:  # PPP
        return PPP, at
    elif link == 50:  # PPP_SERIAL: PPP or Cisco HDLC by the address octet
        return (LINK + 104 if buf[at] == 0x0F or buf[at] == 0x8F else PPP), at
    elif link == 51:  # PPP_ETHER
        return PPPOE, at
    elif link == 104:  # C_HDLC
        size = 4
        kind = 2
    elif link == 105:  # IEEE802_11
        return wlan(buf, at, cut, 0)
    elif link == 127:  # IEEE802_11_RADIOTAP
        layer, at, pad = radiotap(buf, at, cut)
        return (layer, at) if layer < 0 else wlan(buf, at, cut, pad)
    elif link == 192:  # PPI
        return (LINK + le32(buf, at + 4), at + (buf[at + 2] + buf[at + 3] * 0x100)) if at + 8 <= cut else (-CUT, at)
    elif link == 258:  # PKTAP
        return (LINK + le32(buf, at + 8), at + max(le32(buf, at), 12)) if at + 12 <= cut else (-CUT, at)
    elif link == 10:  # FDDI
        return LLC, at + 13
    elif link == 107:
        return frame_relay(buf, at, cut)
    elif link == 109:  # ENC
        return RAW_IP, at + 12
    elif link == 117:  # PFLOG, whose first byte is its length without padding
        return RAW_IP, at + (buf[at] + 3) // 4 * 4
    elif link == 239:
        return nflog(buf, at, cut)
    elif link == 240:  # NETANALYZER
        return ETHERNET, at + 4
    elif link == 242:  # IPOIB
        size = 44
        kind = 40
    else:
        return -LINK_UNKNOWN, at
    if at + size > cut:
        return -CUT, at
    return after_type(be16(buf, at + kind)), at + size


KERNELS: Final = (
    "radiotap",
    "wlan",
    "nflog",
    "frame_relay",
    "link_layer",
)
"""Functions numba may compile, each after those it calls."""
