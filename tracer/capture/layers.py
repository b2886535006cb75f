"""Finding the TCP header: from a frame's first byte through link layers, tags, tunnels and IP to TCP, or why not.

A frame is peeled in one loop. ``layer`` says what the bytes at ``at`` are: numbers up to 0xFFFF are EtherTypes, from
PROTO on IP protocol numbers, from LINK on link types of the file, from SPECIAL on encapsulations that have no number of
their own; a negative layer is an outcome. Three limits go along: ``cut`` is where the captured bytes end, ``end`` where
the bytes on the wire did; both shrink to what the innermost IP header says, so that Ethernet padding never counts as
payload (RFC 9293 section 3.1 computes the length from IP). Written for numba too: see walk.py.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.capture.outcomes import (
    BAD_IP,
    BAD_TCP,
    CUT,
    DEEP,
    ENCRYPTED,
    FRAGMENT,
    FRAGMENT_CUT,
    ICMP,
    NOT_IP,
    NOT_TCP,
    TCP,
    TUNNEL,
)
from tracer.capture.outcomes import LINK as LINK_UNKNOWN
from tracer.capture.walk import Octets

MAX_LAYERS: Final = 32

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


def gre(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """GRE (RFC 2784, 2890), also as PPTP (RFC 2637), ERSPAN, WCCP and Aruba use it."""
    if at + 4 > cut:
        return -CUT, at
    flags = be16(buf, at)
    kind = be16(buf, at + 2)
    at += 4
    version = flags & 7
    if flags & 0x4000 or version > 1:
        return -TUNNEL, at
    if flags & 0x8000:
        at += 4
    if flags & 0x2000:
        at += 4
    if flags & 0x1000:
        at += 4
    if version == 1 and flags & 0x0080:
        at += 4
    if at >= cut:
        return -NOT_TCP, at
    if kind == 0x88BE:  # ERSPAN: type II has a sequence number and a header, type I neither
        return ETHERNET, at + (8 if flags & 0x1000 else 0)
    if kind == 0x22EB:  # ERSPAN type III
        if at + 12 > cut:
            return -CUT, at
        return ETHERNET, at + (20 if buf[at + 11] & 1 else 12)
    if kind == 0x883E:  # WCCP: version 2 puts a redirect header before IP
        return IPV4, at + (0 if buf[at] >> 4 == 4 else 4)
    if 0x8200 <= kind <= 0x82FF or kind == 0x9000:  # Aruba
        return wlan(buf, at, cut, 0)
    return after_type(kind) if kind > 1500 else -TUNNEL, at


def gtp(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """A GTP-U tunnelled packet (3GPP TS 29.281 section 5)."""
    if at + 9 > cut or buf[at] >> 4 != 3 or buf[at + 1] != 0xFF:
        return -NOT_TCP, at
    flags = buf[at]
    at += 8
    if flags & 7:
        extension = buf[at + 3] if at + 4 <= cut and flags & 4 else 0
        at += 4
        while extension and at < cut:
            at += max(buf[at], 1) * 4
            extension = buf[at - 1] if at <= cut else 0
    if at >= cut:
        return -NOT_TCP, at
    version = buf[at] >> 4
    if version == 4:
        return IPV4, at
    return (IPV6, at) if version == 6 else (-NOT_TCP, at)


def l2tp(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """An L2TPv2 data message (RFC 2661 section 3.1) carries PPP."""
    if at + 6 > cut or buf[at] & 0x80 or buf[at + 1] & 15 != 2:
        return -NOT_TCP, at
    flags = buf[at]
    at += 6
    if flags & 0x40:
        at += 2
    if flags & 0x08:
        at += 4
    if flags & 0x02:
        at += 2 + (be16(buf, at) if at + 2 <= cut else 0)
    return PPP, at


def udp(buf: Octets, at: int, cut: int) -> tuple[int, int]:
    """Tunnels over UDP, by either port."""
    if at + 16 > cut:
        return -NOT_TCP, at
    source = be16(buf, at)
    port = be16(buf, at + 2)
    at += 8
    if port == 4789 or port == 8472 or source == 4789 or source == 8472:  # VXLAN, RFC 7348
        return (ETHERNET, at + 8) if buf[at] & 0x08 else (-NOT_TCP, at)
    if port == 2152 or source == 2152:
        return gtp(buf, at, cut)
    if port == 6081 or source == 6081:  # Geneve, RFC 8926
        return (after_type(be16(buf, at + 2)), at + 8 + (buf[at] & 63) * 4) if buf[at] < 64 else (-NOT_TCP, at)
    if port == 4790:  # VXLAN-GPE
        kind = buf[at + 3]
        if kind == 3:
            return ETHERNET, at + 8
        return RAW_IP if kind == 1 or kind == 2 else -NOT_TCP, at + 8
    if port == 1701 or source == 1701:
        return l2tp(buf, at, cut)
    if port == 6635:  # RFC 7510
        return mpls(buf, at, cut)
    if port == 4754:  # RFC 8086
        return gre(buf, at, cut)
    if port == 3544 or source == 3544:  # Teredo, RFC 4380 section 5.1.1
        if buf[at] == 0 and buf[at + 1] == 0:
            at += 8
        return (IPV6, at) if at < cut and buf[at] >> 4 == 6 else (-NOT_TCP, at)
    return -NOT_TCP, at


def ip_protocol(buf: Octets, at: int, cut: int, proto: int) -> tuple[int, int]:
    """What an IP protocol number other than TCP leads to: extension headers (RFC 8200 section 4) and tunnels."""
    if proto == 17 or proto == 136:
        return udp(buf, at, cut)
    if proto == 1 or proto == 58:
        return -ICMP, at
    if proto == 0 or proto == 43 or proto == 60 or proto == 135 or proto == 139 or proto == 140:
        return (PROTO + buf[at], at + (buf[at + 1] + 1) * 8) if at + 2 <= cut else (-CUT, at)
    if proto == 51:  # AH, RFC 4302
        return (PROTO + buf[at], at + (buf[at + 1] + 2) * 4) if at + 2 <= cut else (-CUT, at)
    if proto == 4:
        return IPV4, at
    if proto == 41:
        return IPV6, at
    if proto == 47:
        return gre(buf, at, cut)
    if proto == 97:  # EtherIP, RFC 3378
        return ETHERNET, at + 2
    if proto == 137:
        return mpls(buf, at, cut)
    if proto == 50:
        return -ENCRYPTED, at
    return (-TUNNEL if proto == 108 or proto == 115 else -NOT_TCP), at  # IPComp, L2TPv3


def locate(buf: Octets, at: int, cut: int, end: int, link: int) -> tuple[int, int, int, int]:
    """Peel one frame: (outcome, where its last IP header is, where its TCP header is, where its payload ends).

    The frame's bytes are at ``at`` to ``cut``, and were on the wire up to ``end``. For a fragment the last IP header
    is the one that says so. The payload's end may lie beyond the captured bytes.
    """
    layer = LINK + link
    ip = at
    for _ in range(MAX_LAYERS):
        if layer == IPV4:
            ip = at
            if at + 20 > cut:
                return CUT, ip, at, end
            header = (buf[at] & 15) * 4
            total = be16(buf, at + 2)
            if buf[at] >> 4 != 4 or header < 20 or (total < header and total != 0):
                return BAD_IP, ip, at, end
            if total and at + total < end:  # 0: TCP segmentation offload, the card would have filled it in
                end = at + total
                if cut > end:
                    cut = end
            if be16(buf, at + 6) & 0x3FFF:
                if cut >= at + total and total:
                    return FRAGMENT, ip, at, end
                if be16(buf, at + 6) & 0x1FFF:
                    return FRAGMENT_CUT, ip, at, end
            layer = PROTO + buf[at + 9]
            at += header
        elif layer == PROTO + 6:
            if at + 20 > cut:
                return (BAD_TCP if end - at < 20 else CUT), ip, at, end
            header = (buf[at + 12] >> 4) * 4
            if header < 20 or at + header > end:
                return BAD_TCP, ip, at, end
            return TCP, ip, at, end
        elif layer == IPV6:
            ip = at
            if at + 40 > cut:
                return CUT, ip, at, end
            if buf[at] >> 4 != 6:
                return BAD_IP, ip, at, end
            total = be16(buf, at + 4)
            if total and at + 40 + total < end:  # 0: a jumbogram (RFC 2675) or segmentation offload
                end = at + 40 + total
                if cut > end:
                    cut = end
            layer = PROTO + buf[at + 6]
            at += 40
        elif layer == PROTO + 44:
            if at + 8 > cut:
                return CUT, ip, at, end
            if be16(buf, at + 2) & 0xFFF9:  # else an atomic fragment, RFC 6946
                if cut >= end:
                    return FRAGMENT, ip, at, end
                if be16(buf, at + 2) & 0xFFF8:
                    return FRAGMENT_CUT, ip, at, end
            layer = PROTO + buf[at]
            at += 8
        elif layer == PPPOE:
            if at + 6 > cut:
                return CUT, ip, at, end
            at += 6
            if at + be16(buf, at - 2) < end:
                end = at + be16(buf, at - 2)
                if cut > end:
                    cut = end
            layer = PPP
        elif layer == PPP:
            layer, at = ppp(buf, at, cut)
        elif layer == LLC:
            if at + 8 > cut:
                return NOT_IP, ip, at, end
            if buf[at] == 0xAA and buf[at + 1] == 0xAA:
                layer = after_type(be16(buf, at + 6))
                at += 8
            elif buf[at] == 6 and buf[at + 1] == 6:
                layer = IPV4
                at += 3
            else:
                return NOT_IP, ip, at, end
        elif layer >= LINK:
            layer, at = link_layer(buf, at, cut, layer - LINK)
        elif layer >= PROTO:
            layer, at = ip_protocol(buf, at, cut, layer - PROTO)
        else:
            layer, at = ether_type(buf, at, cut, layer)
        if layer < 0:
            return -layer, ip, at, end
    return DEEP, ip, at, end


def locate_all(
    buf: Octets,
    start: NDArray[np.int64],
    cut: NDArray[np.int64],
    end: NDArray[np.int64],
    link: NDArray[np.int64],
    todo: NDArray[np.int64],
    outcome: NDArray[np.int64],
    ip: NDArray[np.int64],
    tcp: NDArray[np.int64],
    stop: NDArray[np.int64],
) -> None:
    """``locate`` for the frames whose indices are in ``todo``; results go to the same indices of the last four."""
    for k in range(len(todo)):
        i = todo[k]
        outcome[i], ip[i], tcp[i], stop[i] = locate(buf, int(start[i]), int(cut[i]), int(end[i]), int(link[i]))


KERNELS: Final = (
    "be16",
    "le32",
    "after_type",
    "radiotap",
    "wlan",
    "nflog",
    "frame_relay",
    "link_layer",
    "mpls",
    "ppp",
    "ether_type",
    "gre",
    "gtp",
    "l2tp",
    "udp",
    "ip_protocol",
    "locate",
    "locate_all",
)
"""Functions numba may compile, each after those it calls."""
