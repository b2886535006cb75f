"""A limit that is high enough: nothing fails."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import (
    EPOLL_CTL_ADD,
    EPOLLIN,
    accept,
    bind,
    close,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    listen,
    recv,
    socket,
)
from scenarios.limits.fd_limit import scenario
from tests.scenarios.variants import nothing, taken_away


def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)
    me.poll = epoll_create()
    epoll_ctl(me.poll, EPOLL_CTL_ADD, me.listener, EPOLLIN)
    me.reserve = socket()


def accepts(me: Actor) -> None:
    epoll_wait(me.poll)
    me.first = accept(me.listener)


def accepts_the_second(me: Actor) -> None:
    me.late = accept(me.listener)
    recv(me.late, 4096)


def ends(me: Actor) -> None:
    close(me.late)


enough = taken_away(
    scenario,
    "enough",
    change={
        1: {"action": listens},
        3: {"action": accepts},
        5: {"action": nothing},
        6: {"action": accepts_the_second},
        7: {"action": ends},
    },
    fails=("socket() fails", "the connection stays", "epoll_wait tells", "with the reserve's", "the lint names"),
)
