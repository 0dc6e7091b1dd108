"""Decoding fpzip with numba, every step checked.

The C++ library trusts what it reads: damaged streams make it divide by zero, loop for ever and write behind its
tables. This decoder gives the same numbers, refuses such streams, and releases the GIL, which the package keeps.

fpzip (P. Lindstrom, M. Isenburg: Fast and Efficient Compression of Floating-Point Data, 2006; stream version 1.1.0,
https://github.com/LLNL/fpzip) predicts each number from seven neighbours decoded before, and stores the difference
of the two as integers: the number of its bits by a range coder with an adaptive model, the bits themselves
as they are. Integers are uint64 throughout, cut to 32 bits where the coder is.

The state of the range coder is a tuple: where its interval begins, how wide it is, the code within, and the next
byte; all of them 0 after a code that no encoder makes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volumekit.compiled import inlined, kernel
from volumekit.errors import CorruptChunkError

_U = np.uint64
_0, _1, _2, _4, _7, _8, _9, _16, _24, _32 = (_U(n) for n in (0, 1, 2, 4, 7, 8, 9, 16, 24, 32))
_LOW_32, _ONES = _U(0xFFFFFFFF), _U(0xFFFFFFFFFFFFFFFF)
_TOTAL = _U(1 << 16)  # sum of the model's frequencies
_PERIOD = _U(1 << 10)  # symbols between two updates of the model, in the end
_SLOTS = _U(1 << 7)  # of the table in which a symbol is looked up
_FREQUENCY = _U(5) + _SLOTS + _U(1)
_DIRECT = _U(8)  # differences of at most so many bits are symbols themselves

_LEFT, _MORE, _COUNT, _SPAN, _FIRST = range(5)
"""State of the model: symbols until the next update, and of those that count one more; count; period.

Behind it are, in the same array, the first symbol of each slot of the table, and for each symbol its frequency and
the frequency of all symbols below it.
"""

_MAGIC = [*b"fpz\0", 0x0110, 1]  # the last two: version of the stream, and of how predictions are rounded
_WIDTHS = (8, 8, 8, 8, 16, 8, 1, 7, 32, 32, 32, 32)  # of the magic numbers, type, precision and sizes, in bits


def decode(data: bytes, out: NDArray[Any]) -> None:
    """Decode a stream.

    Parameters
    ----------
    data : bytes
        The stream, possibly damaged.
    out : numpy.ndarray
        (x, y, z, channel), float32 or float64, Fortran order; filled.

    Raises
    ------
    CorruptChunkError
        If the stream is none, declares another shape or type, or does not end where the data end.
    """
    source = np.frombuffer(data, np.uint8)
    bits, state = _read_header(source, out)
    x, y, z, fields = out.shape
    kind = np.dtype(f"u{out.itemsize}")
    ring, guess = np.empty(_ring_size(x, y), out.dtype), np.empty(1, out.dtype)
    symbols = 2 * bits + 1 if bits > _DIRECT else 2 ** (bits + 1) - 1
    model = np.zeros(int(_FREQUENCY) + 2 * symbols + 1, np.uint64)
    for field in out.view(kind).reshape(x * y * z, fields, order="F").T:
        _reset(model, _U(symbols))
        state = _decode_field(
            source, tuple(map(_U, state)), model, _U(symbols), ring, ring.view(kind), guess, guess.view(kind), field,
            (_U(x), _U(y), _U(z)), _U(bits),
        )  # fmt: skip
        if not state[1]:
            raise CorruptChunkError("the fpzip stream is damaged")
    if state[3] != len(data):
        raise CorruptChunkError(f"the fpzip stream ends after {state[3]} bytes of {len(data)}")


def _read_header(source: NDArray[np.uint8], out: NDArray[Any]) -> tuple[int, Any]:
    """Check what the stream declares; return the bits kept of each number, and the state of the coder."""
    numbers, state = _take_header(source, np.array(_WIDTHS, np.uint64))
    if numbers[:6].tolist() != _MAGIC:
        raise CorruptChunkError("not an fpzip stream of a known version")
    double, precision, *shape = numbers[6:].tolist()
    size = 8 if double else 4
    if tuple(shape) != out.shape or size != out.itemsize:
        raise CorruptChunkError(
            f"the fpzip stream declares float{8 * size} {tuple(shape)}, not {out.dtype} {out.shape}"
        )
    bits = precision or 8 * size
    if bits not in range(size // 2, 8 * size + 1, size // 4):
        raise CorruptChunkError(f"the fpzip stream keeps {bits} bits of each number, which cannot be")
    return bits, state


def _ring_size(x: int, y: int) -> int:
    """Return the least power of two that holds all neighbours: a plane, a row and a number, with their margins."""
    return 1 << (1 + (x + 1) + (x + 1) * (y + 1) - 1).bit_length()


@inlined
def _shift_in(source: Any, state: Any) -> Any:
    """Take a byte into the code; behind the end of the source are zeros."""
    low, width, code, at = state
    byte = _U(source[at]) if at < _U(source.size) else _0
    return low << _8 & _LOW_32, width, (code << _8 | byte) & _LOW_32, at + _1


@inlined
def _narrow(source: Any, state: Any, start: Any, times: Any) -> Any:
    """Narrow the interval, and widen it again as far as its first bits are certain."""
    low, width, code, at = state
    low, width = (low + width * start) & _LOW_32, width * times & _LOW_32
    while (low ^ (low + width & _LOW_32)) >> _24 == _0:
        low, width, code, at = _shift_in(source, (low, width << _8 & _LOW_32, code, at))
    if width >> _16 == _0:
        low, width, code, at = _shift_in(source, _shift_in(source, (low, width, code, at)))
        width = (_0 - low) & _LOW_32
    return low, width, code, at


@inlined
def _part(state: Any, bits: Any) -> Any:
    """Return in which of 2**bits equal parts of the interval the code is, and the state with the width of a part."""
    low, width, code, at = state
    if width == _0:
        return _ONES, state
    width >>= bits
    return (code - low & _LOW_32) // width, (low, width, code, at)


@inlined
def _take(source: Any, state: Any, bits: Any) -> Any:
    """Return a number of at most 64 bits that is stored as it is, 16 bits at a time, least significant first."""
    number, at = _0, _0
    while True:
        piece = min(bits - at, _16)
        part, state = _part(state, piece)
        if part >> piece != _0:
            return _0, (_0, _0, _0, _0)
        state = _narrow(source, state, part, _1)
        number |= part << at
        at += piece
        if at >= bits:
            return number, state


@kernel
def _take_header(source: Any, widths: Any) -> Any:
    """Start the coder; return the numbers of these widths, and its state."""
    state = (_0, _LOW_32, _0, _0)
    for _ in range(4):
        state = _shift_in(source, state)
    numbers = np.zeros(widths.size, np.uint64)
    for n in range(widths.size):
        numbers[n], state = _take(source, state, widths[n])
    return numbers, state


@inlined
def _symbol(source: Any, state: Any, model: Any, symbols: Any) -> Any:
    """Return a symbol of the model, and let the model learn of it."""
    part, state = _part(state, _16)
    if part >= _TOTAL:
        return _0, (_0, _0, _0, _0)
    slot = _U(_FIRST) + (part >> _9)
    symbol, above = model[slot], model[slot + _1] + _1
    below = _FREQUENCY + symbols
    while symbol + _1 < above:
        middle = (symbol + above) >> _1
        if part < model[below + middle]:
            above = middle
        else:
            symbol = middle
    start = model[below + symbol]
    state = _narrow(source, state, start, model[below + symbol + _1] - start)
    if model[_LEFT] == _0:
        _update(model, symbols)
    model[_LEFT] -= _1
    model[_FREQUENCY + symbol] += model[_COUNT]
    return symbol, state


@kernel
def _reset(model: Any, symbols: Any) -> None:
    """Make all symbols equally frequent."""
    model[_FREQUENCY + _2 * symbols] = _TOTAL
    model[_MORE], model[_SPAN] = _0, symbols >> _4 | _2
    each, more = _TOTAL // symbols, _TOTAL % symbols
    for symbol in range(symbols):
        model[_FREQUENCY + symbol] = each + _1 if symbol < more else each
    _update(model, symbols)


@kernel
def _update(model: Any, symbols: Any) -> None:
    """Take up what was learnt; old symbols count half."""
    if model[_MORE] != _0:
        model[_LEFT], model[_MORE] = model[_MORE], _0
        model[_COUNT] += _1
        return
    span = min(model[_SPAN] << _1, _PERIOD)
    below = missing = _TOTAL
    end = _SLOTS
    for n in range(symbols):
        symbol = symbols - _1 - n
        frequency = model[_FREQUENCY + symbol]
        below -= frequency
        model[_FREQUENCY + symbols + symbol] = below
        frequency = frequency >> _1 | _1
        missing -= frequency
        model[_FREQUENCY + symbol] = frequency
        slot = below >> _9
        for place in range(slot, end + _1):
            model[_U(_FIRST) + place] = symbol
        end = slot
    model[_SPAN], model[_COUNT], model[_MORE] = span, missing // span, missing % span
    model[_LEFT] = span - model[_MORE]


@inlined
def _number(source: Any, state: Any, model: Any, symbols: Any, guess: Any, bits: Any, whole: Any) -> Any:
    """Return a number, as bits, from its prediction, as bits.

    The order of the bits is changed so that it is the order of the numbers. ``whole`` are all bits of a number.
    """
    cut = whole - bits
    ones = _ONES >> (_U(64) - whole)
    symbol, state = _symbol(source, state, model, symbols)
    if bits > _DIRECT and symbol == bits:
        return guess >> cut << cut, state
    ordered = (guess ^ ones) >> cut
    ordered ^= (_0 - (ordered >> (bits - _1)) & ones) >> (cut + _1)
    if bits <= _DIRECT:
        ordered += symbol - ((_1 << bits) - _1)
    else:
        wide = symbol - bits - _1 if symbol > bits else bits - _1 - symbol
        low, state = _take(source, state, wide)
        difference = (_1 << wide) + low
        ordered += difference if symbol > bits else _0 - difference
    ordered &= ones
    ordered ^= (_0 - (ordered >> (bits - _1)) & ones) >> (cut + _1)
    return (ordered ^ ones) << cut & ones, state


@kernel
def _decode_field(
    source: Any, state: Any, model: Any, symbols: Any, ring: Any, ring_bits: Any, guess: Any, guess_bits: Any, out: Any,
    shape: Any, bits: Any,
) -> Any:  # fmt: skip
    """Decode (x, y, z) of one channel, as bits; the margins before each axis are zeros.

    ``ring`` and ``ring_bits``, the last numbers decoded, are the same memory, and so are ``guess`` and ``guess_bits``.
    Returns the state.
    """
    mask, whole = _U(ring.size) - _1, _U(8 * out.itemsize)
    row = shape[0] + _1
    plane = row * (shape[1] + _1)
    for at in range(plane):
        ring[at] = 0
    now, place = plane, _0
    for _z in range(shape[2]):
        for at in range(now, now + row):
            ring[at & mask] = 0
        now += row
        for _y in range(shape[1]):
            ring[now & mask] = 0
            now += _1
            for _x in range(shape[0]):
                guess[0] = (
                    ring[now - _1 & mask]
                    - ring[now - row - plane & mask]
                    + ring[now - row & mask]
                    - ring[now - _1 - plane & mask]
                    + ring[now - plane & mask]
                    - ring[now - _1 - row & mask]
                    + ring[now - _1 - row - plane & mask]
                )
                value, state = _number(source, state, model, symbols, _U(guess_bits[0]), bits, whole)
                if state[1] == _0:
                    return state
                ring_bits[now & mask] = value
                out[place] = value
                now += _1
                place += _1
    return state
