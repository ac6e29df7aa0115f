"""From an accepted total to the mean update, as floats: one float64 operation at a time (5.12)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from comity.aggregation.layout import Layout, Pieces
from comity.aggregation.ring import Totals, data_range, q_max
from comity.values import CHUNK_WORDS, HEADER_WORDS


def decode_chunk(
    layout: Layout, k: int, x: Totals, weight_sum: int, n: int, weight_max: int
) -> npt.NDArray[np.float64]:
    """The data words `data_range(layout.data_words, k)` of an accepted total, as float64 (5.12)."""
    start, stop = data_range(layout.data_words, k)
    offset = HEADER_WORDS - k * CHUNK_WORDS
    part = x[start + offset : stop + offset]
    return decode_words(Pieces(layout), start, part, weight_sum, n, weight_max)


def decode_words(
    pieces: Pieces, start: int, part: Totals, weight_sum: int, n: int, weight_max: int
) -> npt.NDArray[np.float64]:
    """Data words start, start + 1, ... of an accepted total, as float64 (5.12).

    Real segments become the weighted mean, X * ((range_max * w_max) / (Qmax * W)), every product
    and the quotient one float64 operation; count segments are X itself.
    """
    mean = part.astype(np.float64)
    for segment, first, last in pieces.between(start, start + part.size):
        if segment.kind == "real":
            scale = (segment.range_max * weight_max) / (float(q_max(n)) * float(weight_sum))
            words = mean[first - start : last - start]
            np.multiply(words, scale, out=words)
    return mean
