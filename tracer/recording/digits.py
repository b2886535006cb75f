"""Bytes put into a block, one after the other: plain functions over arrays, made for numba to compile.

Each takes the place to write at and returns the place behind. Numbers are written as Python's str() and hex() write
them. Indices into arrays are made unsigned where bytes are many: then no index can count from behind, and the loop
becomes a copy.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

TENS: Final = np.array([10**i for i in range(20)], np.uint64)
PAIRS: Final = np.frombuffer("".join(f"{i:02}" for i in range(100)).encode(), np.uint8)
"""The numbers below a hundred, two digits each."""
HEXADECIMAL: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


def put_number(out: Bytes, at: int, value: Any) -> int:
    """An unsigned number in decimal; returns the place behind it."""
    digits = 1
    while digits < 20 and value >= TENS[digits]:
        digits += 1
    place = np.uint64(at + digits)
    one, two = np.uint64(1), np.uint64(2)
    while value >= np.uint64(100):
        rest = value // np.uint64(100)
        pair = (value - rest * np.uint64(100)) << one
        place -= two
        out[place], out[place + one] = PAIRS[pair], PAIRS[pair + one]
        value = rest
    if value >= np.uint64(10):
        pair = value << one
        place -= two
        out[place], out[place + one] = PAIRS[pair], PAIRS[pair + one]
    else:
        out[place - one] = np.uint8(48) + np.uint8(value)
    return at + digits


def put_hex(out: Bytes, at: int, value: Any, digits: int) -> int:
    """A number in hexadecimal, at least so many digits."""
    while digits < 16 and value >> np.uint64(4 * digits):
        digits += 1
    for i in range(digits):
        digit = (value >> np.uint64(4 * (digits - 1 - i))) & np.uint64(15)
        out[np.uint64(at + i)] = HEXADECIMAL[digit]
    return at + digits


def put_bytes(out: Bytes, at: int, pool: Bytes, begin: int, end: int) -> int:
    """A piece of a pool."""
    for i in range(end - begin):
        out[np.uint64(at + i)] = pool[np.uint64(begin + i)]  # unsigned: no index counts from behind
    return at + end - begin


def put_signed(out: Bytes, at: int, below: bool, value: Any) -> int:
    """A number that may be below zero."""
    if below:
        out[at] = np.uint8(45)
        at += 1
    return put_number(out, at, value)


def put_address(out: Bytes, at: int, high: Any, low: Any) -> int:
    """An IPv4 address with its dots, another as 32 hexadecimal digits."""
    if high != 0 or low >> np.uint64(32) != np.uint64(0xFFFF):
        return put_hex(out, put_hex(out, at, high, 16), low, 16)
    for i in range(4):
        at = put_number(out, at, (low >> np.uint64(24 - 8 * i)) & np.uint64(255))
        out[at] = np.uint8(46)
        at += 1
    return at - 1


def put_endpoint(out: Bytes, at: int, high: Any, low: Any, port: Any) -> int:
    """An address and a port as people write them, see tracer.timeline.endpoint."""
    if high == 0 and low >> np.uint64(32) == np.uint64(0xFFFF):
        at = put_address(out, at, high, low)
    else:
        out[at] = np.uint8(91)
        at = put_ipv6(out, at + 1, high, low)
        out[at] = np.uint8(93)
        at += 1
    out[at] = np.uint8(58)
    if port:
        return put_number(out, at + 1, port)
    out[at + 1] = np.uint8(42)
    return at + 2


def put_ipv6(out: Bytes, at: int, high: Any, low: Any) -> int:
    """An IPv6 address with its longest run of zeros left out (RFC 5952 §4.2)."""
    first = most = run = 0
    for i in range(9):
        if i < 8 and group_of(i, high, low) == np.uint64(0):
            run += 1
        else:
            if run > most:
                first, most = i - run, run
            run = 0
    if most < 2:  # a single one is written
        first, most = 8, 0
    i = 0
    while i < 8:
        if i == first:
            out[at] = out[at + 1] = np.uint8(58)
            at, i = at + 2, i + most
        else:
            if i and i != first + most:
                out[at] = np.uint8(58)
                at += 1
            at, i = put_hex(out, at, group_of(i, high, low), 1), i + 1
    return at


def group_of(i: int, high: Any, low: Any) -> Any:
    """One of the eight numbers of an IPv6 address."""
    half = high if i < 4 else low
    return (half >> np.uint64(48 - 16 * (i & 3))) & np.uint64(0xFFFF)


def put_u32(out: Bytes, at: int, value: Any) -> int:
    """Four bytes, little-endian."""
    for i in range(4):
        out[at + i] = np.uint8((value >> (8 * i)) & 255)
    return at + 4


def pad(out: Bytes, at: int, begin: int) -> int:
    """Zeros up to a multiple of 4 from ``begin``."""
    while (at - begin) & 3:
        out[at] = np.uint8(0)
        at += 1
    return at


FUNCTIONS: Final = (
    "put_number", "put_hex", "put_bytes", "put_signed", "put_address", "group_of", "put_ipv6", "put_endpoint",
    "put_u32", "pad",
)  # fmt: skip
"""Each after those it calls."""
