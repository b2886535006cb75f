"""Virtual wires between the actors' networks.

Two actors who only want a wire get one veth pair, a cable with an `eth0` at either end. More of them, or a wire that
does something to packets, need a place in between, a network without an address: there a kernel's bridge joins the
cables, or the relay (`scenarios.relay`). Every packet passes that place once, just as its sender let it go, so that is
where it is captured when there are no probes.

Nothing goes over a wire but the story's own packets: neighbours are entered by hand (no ARP, no neighbour discovery),
IPv6 has no link-local address (no router solicitation) and no duplicate address detection. Offloads are off, so that a
frame is what a wire would carry: not larger than the MTU, its checksums right.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute

from scenarios import namespaces
from scenarios.places import INTERFACE, Place

BRIDGE: Final = "bridge"
IPV6_MTU: Final = 1280
"""IPv6 wants no less of a link (RFC 8200 section 5), and the kernel takes no address there."""
NUD_PERMANENT: Final = 0x80
NUD_NOARP: Final = 0x40
NTF_MASTER: Final = 0x04
IFA_F_NODAD: Final = 0x02
SIOCETHTOOL: Final = 0x8946
ETHTOOL_OFF: Final = {"tx checksums": 0x17, "segmentation": 0x1F, "generic segmentation": 0x24, "receive": 0x2C}
"""ETHTOOL_STXCSUM, STSO, SGSO, SGRO (include/uapi/linux/ethtool.h)."""


def lay(
    networks: dict[str, int],
    places: dict[str, Place],
    between: int | None,
    *,
    mtu: int,
    bridged: bool,
    peers: tuple[str, ...] = (),
) -> None:
    """Lay the wires between networks, given by actor as descriptors.

    `between` is the network in the middle; None: there are two actors, and one cable. `bridged`: put a kernel's bridge
    there; else leave the ends to the relay. `peers` get an interface that hears everything and a kernel that hears
    nothing. Afterwards the caller is in one of these networks. Raises OSError, and pyroute2's NetlinkError.
    """
    ends: dict[str, dict[str, Any]] = {
        name: {
            "ifname": INTERFACE,
            "net_ns_fd": network,
            "address": places[name].deaf_mac if name in peers else places[name].mac,
            "mtu": mtu,
        }
        for name, network in networks.items()
    }
    if between is None:
        first, second = ends.values()
        namespaces.setns(first.pop("net_ns_fd"))
        with IPRoute() as route:
            route.link("add", kind="veth", peer=second, **first)
    else:
        namespaces.setns(between)
        with IPRoute() as route:
            if bridged:
                route.link("add", ifname=BRIDGE, kind="bridge", mtu=mtu)
            for name, end in ends.items():
                route.link("add", ifname=places[name].port, kind="veth", peer=end, mtu=mtu)
            _join_ports(route, [places[name] for name in ends], bridged)
    for name, network in networks.items():
        namespaces.setns(network)
        six = Path("/proc/sys/net/ipv6").exists() and mtu >= IPV6_MTU
        _arrive(places[name], [place for place in places.values() if place != places[name]], name in peers, six)


def _join_ports(route: Any, places: list[Place], bridged: bool) -> None:
    bridge = None
    if bridged:
        _quiet(BRIDGE)
        bridge = route.link_lookup(ifname=BRIDGE)[0]
        route.link("set", index=bridge, state="up")
    for place in places:
        _quiet(place.port)
        index = route.link_lookup(ifname=place.port)[0]
        if bridge is not None:
            route.link("set", index=index, master=bridge)
            # Each frame goes to the one it is addressed to from the first on: a bridge that has yet to learn floods.
            route.brport("set", index=index, unicast_flood=0, learning=0)
            route.fdb("add", ifindex=index, lladdr=place.mac, flags=NTF_MASTER, state=NUD_NOARP)
        route.link("set", index=index, state="up")


def _arrive(place: Place, others: list[Place], by_hand: bool, six: bool) -> None:
    """Address, neighbours and offloads of `eth0` in the network this process is in.

    A peer's interface has no address: even if a frame got through to its kernel, that would answer nobody.
    """
    _quiet(INTERFACE)
    switch_offloads_off(INTERFACE)
    with IPRoute() as route:
        index = route.link_lookup(ifname=INTERFACE)[0]
        if not by_hand:
            route.addr("add", index=index, address=place.ipv4, prefixlen=24)
            if six:
                route.addr("add", index=index, address=place.ipv6, prefixlen=64, flags=IFA_F_NODAD)
        route.link("set", index=index, state="up")
        for other in others if not by_hand else ():
            for address in (other.ipv4, other.ipv6) if six else (other.ipv4,):
                route.neigh("add", dst=address, lladdr=other.mac, ifindex=index, state=NUD_PERMANENT)


def _quiet(interface: str) -> None:
    """No packet that is not of the story: no link-local address, no duplicate address detection."""
    settings = Path("/proc/sys/net/ipv6/conf") / interface
    for name, value in (("addr_gen_mode", "1"), ("accept_dad", "0"), ("router_solicitations", "0")):
        if (settings / name).exists():
            (settings / name).write_text(value)


def switch_offloads_off(interface: str) -> None:
    """ethtool -K: what a card would do is done by the stack. What the interface does not know of is passed over."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in ETHTOOL_OFF.values():
            value = bytearray(struct.pack("=II", command, 0))
            held = (bytes(interface, "ascii"), _address_of(value))
            try:
                fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP16x", *held))
            except OSError as failure:
                if failure.errno not in (95, 22):  # EOPNOTSUPP, EINVAL
                    raise


def _address_of(value: bytearray) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(value))


def network_here() -> int:
    """A descriptor of the network this process is in; the caller closes it."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
