"""Helpers for kernels: sixty-four bytes at a time. A mask has a bit for each byte, the lowest for the first.

What is asked of the bytes becomes vector instructions of whatever processor there is. An array that is read so must
have 64 bytes at least: at its end the last 64 are read, and bits beyond it are 0. `curation.signals.batch` sees to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curation.kernels.compiled import helper

#: Bytes that a mask tells of, and that an array must have at least.
SIZE = 64


def readable(data: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes, or a copy with zeros behind where there are too few to be read sixty-four at a time."""
    return data if len(data) >= SIZE else np.concatenate([data, np.zeros(SIZE - len(data), np.uint8)])


def _asking(*, either_case: bool, is_one: bool) -> Any:
    """An intrinsic: which of the 64 bytes from a place on are from `low` to `high`, or one value.

    With `either_case` a capital of ASCII is asked for as its small letter.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8), ir.IntType(64)
        vector = ir.VectorType(byte, SIZE)

        def spread(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), SIZE), None)
            return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

        array = context.make_array(signature.args[0])(context, builder, args[0])
        at, low, high = args[1], builder.trunc(args[2], byte), builder.trunc(args[-1], byte)
        furthest = builder.sub(array.nitems, word(SIZE))
        is_inside = builder.icmp_signed("<=", at, furthest)
        place = builder.select(is_inside, at, furthest)
        loaded = builder.load(builder.bitcast(builder.gep(array.data, [place]), vector.as_pointer()), align=1)
        if either_case:
            loaded = builder.or_(loaded, spread(byte(0x20)))
        found = builder.icmp_unsigned("<=", builder.sub(loaded, spread(low)), spread(builder.sub(high, low)))
        bits = builder.bitcast(found, word)
        shift = builder.sub(at, place)
        beyond = builder.icmp_signed(">=", shift, word(SIZE))
        return builder.select(beyond, word(0), builder.lshr(bits, shift))

    if is_one:

        @intrinsic  # type: ignore[untyped-decorator]
        def mask(typing: Any, data: Any, at: Any, value: Any) -> Any:  # noqa: ARG001  # numba gives the context
            return types.uint64(data, types.int64, types.int64), generate
    else:

        @intrinsic  # type: ignore[untyped-decorator]
        def mask(typing: Any, data: Any, at: Any, low: Any, high: Any) -> Any:  # noqa: ARG001
            return types.uint64(data, types.int64, types.int64, types.int64), generate

    return mask


#: Which of the 64 bytes from a place on are from one value to another.
within = _asking(either_case=False, is_one=False)
#: The same with capitals of ASCII made small.
within_either_case = _asking(either_case=True, is_one=False)
#: Which of the 64 bytes from a place on have this value.
equal = _asking(either_case=False, is_one=True)
#: Which of the 64 bytes from a place on are this small letter of ASCII, or its capital.
letter = _asking(either_case=True, is_one=True)


def mapping(becomes: np.ndarray[Any, np.dtype[np.uint8]]) -> Any:
    """An intrinsic: write what each of the 64 bytes from a place on becomes to a place of another array.

    `becomes` has it for each byte of ASCII; what it makes of others is not said. Runs of bytes that become the same
    one, or are moved by the same distance, are told apart by comparing, so there should be few.
    """
    usual = int(np.bincount(becomes).argmax())
    runs: list[tuple[int, int, int | None]] = []  # from, to, and what all become, or None where they are moved
    for value in range(0x80):
        mine = int(becomes[value])
        if runs and runs[-1][1] == value - 1:
            first, _, one = runs[-1]
            if mine == (one if one is not None else int(becomes[value - 1]) + 1) or (
                first == value - 1 and mine == int(becomes[first]) + 1
            ):
                runs[-1] = (first, value, one if one == mine else None)
                continue
        runs.append((value, value, mine))

    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing: Any, data: Any, at: Any, out: Any, to: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(ir.IntType(8), SIZE)

            def all_of(value: int) -> Any:
                return ir.Constant(vector, [value & 0xFF] * SIZE)

            def place(number: int) -> Any:
                array = context.make_array(signature.args[number])(context, builder, args[number])
                return builder.bitcast(builder.gep(array.data, [args[number + 1]]), vector.as_pointer())

            loaded = builder.load(place(0), align=1)
            made = all_of(usual)
            for first, last, one in runs:
                if one == usual:
                    continue
                those = builder.icmp_unsigned("<=", builder.sub(loaded, all_of(first)), all_of(last - first))
                moved = builder.add(loaded, all_of(int(becomes[first]) - first))
                made = builder.select(those, moved if one is None else all_of(one), made)
            builder.store(made, place(2), align=1)
            return context.get_dummy_value()

        return types.void(data, types.int64, out, types.int64), generate

    return write


def _counting(name: str) -> Any:
    """An intrinsic of LLVM's that counts bits."""

    @intrinsic  # type: ignore[untyped-decorator]
    def count(typing: Any, mask: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            if name == "ctpop":
                return builder.ctpop(args[0])
            return getattr(builder, name)(args[0], ir.Constant(ir.IntType(1), 0))

        return types.int64(types.uint64), generate

    return count


#: How many bits are set.
count = _counting("ctpop")
#: The place of the first bit that is set; 64 if none is.
first = _counting("cttz")
#: How many bits behind the last one that is set.
behind = _counting("ctlz")


@helper
def letters_of(data: Any, at: int, one: int, two: int, three: int) -> Any:
    """Where three small letters of ASCII, or their capitals, follow each other from one of the 64 bytes on."""
    return letter(data, at, one) & letter(data, at + 1, two) & letter(data, at + 2, three)


@helper
def below(place: int) -> Any:
    """The bits before a place."""
    return ~np.uint64(0) if place >= SIZE else (np.uint64(1) << np.uint64(place)) - np.uint64(1)


@helper
def white(data: Any, at: int) -> Any:
    """Which bytes are white space of ASCII."""
    return within(data, at, 0x09, 0x0D) | within(data, at, 0x20, 0x20)


@helper
def letters(data: Any, at: int) -> Any:
    """Which bytes are letters of ASCII."""
    return within_either_case(data, at, 0x61, 0x7A)


@helper
def alnum(data: Any, at: int) -> Any:
    """Which bytes are letters or numbers of ASCII."""
    return letters(data, at) | within(data, at, 0x30, 0x39)


@helper
def high(data: Any, at: int) -> Any:
    """Which bytes belong to characters beyond ASCII."""
    return within(data, at, 0x80, 0xFF)
