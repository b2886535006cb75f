"""Finding the TCP header: from a frame's first byte through link layers, tags, tunnels and IP to TCP, or why not.

A frame is peeled in one loop, a layer at a time (encapsulation.py says what a layer is). Three limits go along: ``cut``
is where the captured bytes end, ``end`` where the bytes on the wire did; both shrink to what the innermost IP header
says, so that Ethernet padding never counts as payload (RFC 9293 section 3.1 computes the length from IP).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.capture.encapsulation import (
    ETHERNET,
    IPV4,
    IPV6,
    LINK,
    LLC,
    PPP,
    PPPOE,
    PROTO,
    after_type,
    be16,
    ether_type,
    ppp,
)
from tracer.capture.links import link_layer
from tracer.capture.outcomes import BAD_IP, BAD_TCP, CUT, DEEP, FRAGMENT, FRAGMENT_CUT, NOT_IP, TCP
from tracer.capture.tunnels import ip_protocol
from tracer.capture.walk import Octets

MAX_LAYERS: Final = 32
"""Headers peeled from one frame; more is an attack or damage."""


def locate(buf: Octets, at: int, cut: int, end: int, link: int) -> tuple[int, int, int, int]:
    """Peel one frame: (outcome, where its last IP header is, where its TCP header is, where its payload ends).

    The frame's bytes are at ``at`` to ``cut``, and were on the wire up to ``end``. For a fragment the last IP header
    is the one that says so. The payload's end may lie beyond the captured bytes.
    """
    layer = LINK + link
    ip = at
    if layer == ETHERNET and at + 14 <= cut:  # ahead of the loop: what nearly every frame begins with
        layer = after_type(be16(buf, at + 12))
        at += 14
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


KERNELS: Final = ("locate",)
"""Functions numba may compile, each after those it calls."""
