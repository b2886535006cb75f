"""IP within IP, and what else an IP protocol number leads to.

A segment that travels in a tunnel is a segment: its own, innermost addresses count. What a tunnel merely quotes (ICMP
errors, sampled headers in sFlow) was not sent there, and is left alone.
"""

from __future__ import annotations

from typing import Final

from tracer.capture.encapsulation import ETHERNET, IPV4, IPV6, PPP, PROTO, RAW_IP, after_type, be16, mpls
from tracer.capture.links import wlan
from tracer.capture.outcomes import CUT, ENCRYPTED, ICMP, NOT_TCP, TUNNEL
from tracer.capture.walk import Octets


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


KERNELS: Final = (
    "gre",
    "gtp",
    "l2tp",
    "udp",
    "ip_protocol",
)
"""Functions numba may compile, each after those it calls."""
