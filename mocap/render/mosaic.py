"""Several films side by side in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import UInt8

from mocap.render.strokes import draw_label

Tile = tuple[int, int, int, int]
"""Column, row, width and height in the mosaic [px]."""

LARGEST = (1920, 1080)
"""Width and height of a mosaic at most [px]."""


def layout(sizes: Sequence[tuple[int, int]], largest: tuple[int, int] = LARGEST) -> tuple[tuple[int, int], list[Tile]]:
    """Where films go that are shown at once: in rows of one width without bars between, as large as all of them can be.

    Of all ways to break the films, in their order, into rows, the one whose tiles have the largest geometric mean of
    their areas; none is larger than its film.

    Args:
        sizes: Of the films, width and height [px].
        largest: Of the mosaic [px].

    Returns:
        Its size, and a tile for each film.
    """
    aspects = [width / height for width, height in sizes]
    best: tuple[float, float, list[list[int]]] | None = None
    for rows in _rows(len(sizes)):
        wide = [sum(aspects[i] for i in row) for row in rows]  # a row's width over its height
        heights = [1 / w for w in wide]
        # the mosaic's width: within the largest, and no tile beyond its film
        width = min(largest[0], largest[1] / sum(heights))
        width = min(width, *(sizes[i][1] / h for row, h in zip(rows, heights, strict=True) for i in row))
        score = sum(np.log(aspects[i] * (width * h) ** 2) for row, h in zip(rows, heights, strict=True) for i in row)
        if best is None or score > best[0] + 1e-9:
            best = float(score), width, rows
    assert best is not None
    _, width, rows = best
    tiles, y, whole = [], 0.0, round(width)
    for row in rows:
        height = width / sum(aspects[i] for i in row)
        edges = np.round(np.cumsum([0.0, *(aspects[i] * height for i in row)])).astype(int)
        edges[-1] = whole
        top, y = round(y), y + height
        tiles += [(int(a), top, int(b - a), round(y) - top) for a, b in pairwise(edges)]
    return (whole, round(y)), tiles


def _rows(count: int) -> Iterator[list[list[int]]]:
    """All ways to break 0 ... count - 1 into rows, fewest rows first, the longer rows below."""
    for cuts in sorted(range(2 ** (count - 1)), key=lambda c: (c.bit_count(), -c)):
        rows: list[list[int]] = [[]]
        for i in range(count):
            rows[-1].append(i)
            if i < count - 1 and cuts >> (count - 2 - i) & 1:
                rows.append([])
        yield rows


class Mosaic:
    """Pictures of films put together, each with its title.

    Args:
        sizes: Of the films [px].
        titles: Theirs.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], titles: Sequence[str]) -> None:
        self.size, self.tiles = layout(sizes)
        self.titles = titles

    def frame(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"] | None]) -> UInt8[np.ndarray, "height width 3"]:
        """One picture (RGB) of all of them; black where there is none."""
        whole = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        for picture, title, (x, y, width, height) in zip(pictures, self.titles, self.tiles, strict=True):
            tile = whole[y : y + height, x : x + width]
            if picture is not None:
                tile[:] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            draw_label(tile, title, (9, 24), size=0.6)
            if x:
                tile[:, 0] = 0
            if y:
                tile[0] = 0
        return whole
