from __future__ import annotations

import numpy as np
import pytest

from mocap.render.mosaic import LARGEST, Mosaic, layout

WIDE, TALL = (1280, 720), (540, 960)
MIXED = [[WIDE] * n for n in range(1, 10)] + [[WIDE, *[TALL] * n] for n in range(1, 9)] + [[TALL] * 8, [(64, 64), WIDE]]


@pytest.mark.parametrize("sizes", MIXED, ids=lambda sizes: f"{len(sizes)}, last {sizes[-1]}")
def test_tiles_fill_the_mosaic_without_overlap_and_keep_their_shapes(sizes: list[tuple[int, int]]) -> None:
    (width, height), tiles = layout(sizes)
    assert width <= LARGEST[0]
    assert height <= LARGEST[1]
    covered = np.zeros((height, width), int)
    for (x, y, w, h), (wide, high) in zip(tiles, sizes, strict=True):
        covered[y : y + h, x : x + w] += 1
        assert w <= wide + 1
        assert h <= high + 1
        assert w == pytest.approx(h * wide / high, abs=2.5)
    assert (covered == 1).all()


def test_eight_views_and_the_ground_make_a_square_of_three() -> None:
    size, tiles = layout([WIDE] * 9)
    assert size == (1920, 1080)
    assert {tile[2:] for tile in tiles} == {(640, 360)}


def test_the_first_film_has_the_largest_tile() -> None:
    for n in (2, 3, 5, 7, 8):
        _, tiles = layout([WIDE] * n)
        assert tiles[0][2] == max(tile[2] for tile in tiles)


def test_each_film_is_shown_in_its_tile_and_one_that_is_missing_is_black() -> None:
    mosaic = Mosaic([WIDE, WIDE, TALL], ["3D", "a", "b"])
    pictures = [np.full((h, w, 3), 60 * (i + 1), np.uint8) for i, (w, h) in enumerate([WIDE, WIDE, TALL])]
    shown, holed = mosaic.frame(pictures), mosaic.frame([pictures[0], None, pictures[2]])
    assert shown.shape == (mosaic.size[1], mosaic.size[0], 3)
    for i, (x, y, w, h) in enumerate(mosaic.tiles):
        assert (shown[y + h // 2, x + w // 2] == 60 * (i + 1)).all()
        assert (holed[y + h // 2, x + w // 2] == (0 if i == 1 else 60 * (i + 1))).all()
        corner = shown[y + 4 : y + 30, x + 4 : x + 40]
        assert (corner != 60 * (i + 1)).any()  # its title
