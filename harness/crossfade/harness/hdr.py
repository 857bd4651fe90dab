"""HdrHistogram in Python: nanoseconds from 1 to 60 s at three significant digits, and its V2 compressed form.

Values fall into log-linear buckets: below 2,048 exact, above in steps of 1/1,024 of their power of two. Counts are
sparse, so that merging many histograms of a run costs what their samples occupy. The encoding is the one of the
HdrHistogram project (V2, zlib, base64), so that its tools read our results.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUB = 2048
_HALF = _SUB // 2
SUB_BITS = 11
_DIGITS = 3
HIGHEST = 60_000_000_000
_COOKIE = 0x1C849303 | 0x10
_COMPRESSED = 0x1C849304 | 0x10
_HEAD = struct.Struct(">iiiiqqd")


def index_of(value: int) -> int:
    """The bucket of a value, from 0."""
    shift = value.bit_length() - SUB_BITS
    if shift <= 0:
        return value
    return shift * _HALF + (value >> shift)


def highest_of(index: int) -> int:
    """The highest value that shares a bucket."""
    if index < _SUB:
        return index
    shift = index // _HALF - 1
    return ((index - shift * _HALF + 1) << shift) - 1


class Histogram:
    """Counts of values. Not safe for threads; merge instead."""

    __slots__ = ("counts", "total_count")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total_count = 0

    def record(self, value: int, count: int = 1) -> None:
        """Count a value; what lies outside 0 to 60 s is counted at the edge."""
        index = index_of(min(max(value, 0), HIGHEST))
        self.counts[index] = self.counts.get(index, 0) + count
        self.total_count += count

    def record_all(self, values: Iterable[int]) -> None:
        """Count many values."""
        for value in values:
            self.record(value)

    def add(self, other: Histogram) -> None:
        """Merge another histogram into this one."""
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count
        self.total_count += other.total_count

    def value_at_percentile(self, percentile: float) -> int:
        """The highest value of the bucket that holds the percentile (0 to 100); 0 for an empty histogram."""
        wanted = max(1, math.ceil(min(max(percentile, 0.0), 100.0) / 100 * self.total_count - 1e-9))
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return highest_of(index)
        return 0

    @property
    def max_value(self) -> int:
        """The highest value of the last bucket in use; 0 for an empty histogram."""
        return highest_of(max(self.counts)) if self.counts else 0

    def encode(self) -> str:
        """V2, zlib, base64."""
        body = bytearray()
        previous = -1
        for index in sorted(self.counts):
            gap = index - previous - 1
            if gap:
                _zigzag(body, -gap)
            _zigzag(body, self.counts[index])
            previous = index
        head = _HEAD.pack(_COOKIE, len(body), 0, _DIGITS, 1, HIGHEST, 1.0)
        packed = zlib.compress(head + bytes(body))
        return base64.b64encode(struct.pack(">ii", _COMPRESSED, len(packed)) + packed).decode()

    @classmethod
    def decode(cls, blob: str) -> Histogram:
        """Read a blob. Raises ValueError if it is none, or one of another precision."""
        return cls.merged([blob])

    @classmethod
    def merged(cls, blobs: Iterable[str]) -> Histogram:
        """One histogram out of many blobs. Raises ValueError as :meth:`decode` does."""
        # A generator process only records and encodes, and must not pay for the import.
        import numpy as np  # noqa: PLC0415

        sums = np.zeros(index_of(HIGHEST) + 1, dtype=np.int64)
        for blob in blobs:
            indices, counts = _entries(_body(blob))
            if indices.size and indices[-1] >= sums.size:
                raise ValueError("a histogram of values above 60 s; only up to there is read here")
            sums[indices] += counts
        found = cls()
        used = np.flatnonzero(sums)
        found.counts = dict(zip(used.tolist(), sums[used].tolist(), strict=True))
        found.total_count = sum(found.counts.values())
        return found


def _body(blob: str) -> bytes:
    """The encoded counts of a blob."""
    try:
        raw = base64.b64decode(blob, validate=True)
        cookie, _ = struct.unpack_from(">ii", raw)
        if cookie != _COMPRESSED:
            raise ValueError(f"histogram cookie is {cookie:#x}, not {_COMPRESSED:#x}")
        plain = zlib.decompress(raw[8:])
        cookie, length, offset, digits, lowest, _, _ = _HEAD.unpack_from(plain)
    except (binascii.Error, struct.error, zlib.error) as error:
        raise ValueError(f"not an HdrHistogram blob ({error}); measure again") from error
    if (cookie, offset, digits, lowest) != (_COOKIE, 0, _DIGITS, 1):
        raise ValueError("a histogram of another precision; only 1 ns at three digits is read here")
    return plain[_HEAD.size : _HEAD.size + length]


def _entries(body: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Buckets and their counts. All numbers at once: one by one, a report would spend its time here.

    Raises ValueError if a number is cut off or longer than nine bytes.
    """
    import numpy as np  # noqa: PLC0415 - see merged

    raw = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate((ends[:0], [0], ends[:-1] + 1))[: ends.size]
    lengths = ends - starts + 1
    if raw.size and (not ends.size or ends[-1] != raw.size - 1 or lengths.max() > 9):
        raise ValueError("a histogram that ends in the middle of a count; measure again")
    if not raw.size:
        return ends, ends
    places = np.arange(raw.size) - np.repeat(starts, lengths)
    parts = (raw & np.uint8(0x7F)).astype(np.uint64) << (7 * places).astype(np.uint64)
    left = np.add.reduceat(parts, starts)
    numbers = (left >> np.uint64(1)).astype(np.int64) ^ -(left & np.uint64(1)).astype(np.int64)
    # A negative number is so many empty buckets, another one the count of the next.
    steps = np.where(numbers < 0, -numbers, 1)
    kept = numbers > 0
    return (np.cumsum(steps) - steps)[kept], numbers[kept]


def _zigzag(out: bytearray, number: int) -> None:
    left = ((number << 1) ^ (number >> 63)) & 0xFFFF_FFFF_FFFF_FFFF
    for _ in range(8):
        if left < 0x80:
            out.append(left)
            return
        out.append((left & 0x7F) | 0x80)
        left >>= 7
    # The ninth byte carries eight bits (HdrHistogram's ZigZagEncoding).
    out.append(left)
