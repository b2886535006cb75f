"""A virtual wire between the actors' networks.

Two actors get one veth pair, a cable with an `eth0` at either end, so each has an interface where only the other's
packets pass. More actors would share a bridge; as long as no scenario needs that, it is refused in words.
"""

from __future__ import annotations

import os
from typing import Final

from pyroute2 import IPRoute

from scenarios import namespaces

INTERFACE: Final = "eth0"
PREFIX: Final = 24


def join(networks: dict[str, int], addresses: dict[str, str]) -> None:
    """Lay a wire between two networks, given by actor as descriptors, and give each end its address.

    The caller ends in the network of the last actor. Raises ValueError for any other number of actors than two,
    OSError.
    """
    if len(networks) != 2:
        raise ValueError(f"a veth joins two actors, this play has {len(networks)}")
    first, second = networks
    namespaces.setns(networks[first])
    with IPRoute() as route:
        route.link("add", ifname=INTERFACE, kind="veth", peer={"ifname": INTERFACE, "net_ns_fd": networks[second]})
    for name, network in networks.items():
        namespaces.setns(network)
        with IPRoute() as route:
            index = route.link_lookup(ifname=INTERFACE)[0]
            route.addr("add", index=index, address=addresses[name], prefixlen=PREFIX)
            route.link("set", index=index, state="up")


def network_of(pid: int) -> int:
    """A descriptor of the network a process is in; the caller closes it."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
