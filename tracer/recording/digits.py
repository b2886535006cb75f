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


FUNCTIONS: Final = ("put_number", "put_hex", "put_bytes", "put_signed", "put_address", "put_u32", "pad")
"""Each after those it calls."""
