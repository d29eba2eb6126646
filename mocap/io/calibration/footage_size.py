"""Footage whose image size is not that of its calibration: resized, fitted between bars, or cut, on purpose."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import UInt8

from mocap.errors import CalibrationError, UnknownName
from mocap.geometry.cameras import Camera

FITS = ("stretch", "bars", "crop", "crop-centre")
"""Ways in which footage came by its size: resized; resized with its aspect kept and bars added; its right and bottom
edges cut or padded (as encoders do, whose blocks are of 16 px); cut alike on both sides."""

_ASPECT = 0.005
"""Relative difference of aspect that rounding of sizes explains."""
_BLOCK = 16
"""Side of a video encoder's block [px]: the most that padding adds."""
_DARK = 40
"""Mean level below which a row is one of a black bar (video black is 16, compression adds a little)."""


def _resized(camera: Camera, scale: float, shift: np.ndarray, size: tuple[int, int]) -> Camera:
    """The camera of a picture scaled by `scale` about its corner, then moved by `shift` [px]."""
    K = camera.K.copy()
    K[:2] *= scale
    K[:2, 2] += 0.5 * (scale - 1) + shift
    return dataclasses.replace(camera, K=K, size=size)


def _has_bars(picture: UInt8[np.ndarray, "height width 3"], bar: np.ndarray) -> bool:
    """Whether `picture` has dark bars of `bar` [px] (left and right, top and bottom) and is brighter right inside."""
    for pixels, width in ((picture.swapaxes(0, 1), bar[0]), (picture, bar[1])):
        if width < 1.5:
            continue
        inner, outer = int(np.ceil(width)) + 1, max(1, int(np.floor(width)) - 1)
        for side in (pixels, pixels[::-1]):
            level = side[: inner + 8].mean(axis=(1, 2))
            if level[:outer].max() > _DARK or level[inner:].mean() < level[:outer].mean() + 15:
                return False
    return True


def fit_to_footage(
    camera: Camera,
    size: tuple[int, int],
    *,
    picture: UInt8[np.ndarray, "height width 3"] | None = None,
    how: str | None = None,
) -> tuple[Camera, str | None]:
    """The camera for footage of `size`, and a sentence for the report where that is not the size it was calibrated at.

    With the same aspect (within 0.5 %) the footage was resized. Otherwise `picture`, one of its frames, decides: black
    bars as wide as fitting the calibrated image into it would leave (an editor that exports to a standard size: 1088 x
    1920 into 1080 x 1920 leaves 7 rows above and below, as two views of a real recording have) mean that the image was
    resized to fit; none, and a difference of at most 16 px, that an encoder cut or padded the right and bottom edges.

    Args:
        camera: At the size of its calibration.
        size: Width and height of the footage [px], its rotation flag obeyed.
        picture: A frame of the footage, RGB.
        how: One of `FITS`, when the user says it.

    Raises:
        CalibrationError: Sizes that belong to turned images, or that no way above explains.
    """
    if size == camera.size:
        return camera, None
    if how is not None and how not in FITS:
        raise UnknownName("way to fit a calibration to footage", how, FITS)
    (W, H), (w, h) = camera.size, size
    sizes = f'Footage of view "{camera.name}" is {w}x{h} px and its calibration is for {W}x{H} px'
    difference = np.array([w - W, h - H])

    def same_aspect(a: float, b: float) -> bool:
        return abs(a / b - 1) < _ASPECT

    if how is None:
        if same_aspect(w / h, W / H):
            how = "stretch"
        elif same_aspect(w / h, H / W):
            raise CalibrationError(
                f"{sizes}: one of them is turned by 90 degrees; give the video the rotation flag it lacks, or "
                "calibrate with images turned as the footage is."
            )
    scale = min(w / W, h / H)
    bar = (np.array([w, h]) - scale * np.array([W, H])) / 2
    if how is None and picture is not None and bar.max() >= 1.5 and _has_bars(picture, bar):
        how = "bars"
    if how is None and np.abs(difference).max() <= _BLOCK:
        how = "crop"

    if how == "stretch":
        return camera.scaled_to(size), f"{sizes}: taken as resized, and the calibration is scaled with it."
    if how == "bars":
        where = " and ".join(
            f"{b:.1f} px at the {edges}"
            for b, edges in zip(bar, ("left and right", "top and bottom"), strict=True)
            if b >= 0.05
        )
        told = f"{sizes}: taken as resized by {scale:.4f} with bars of {where}, and the calibration likewise."
        return _resized(camera, scale, bar, size), told
    if how == "crop":
        told = f"{sizes}: taken as cut or padded at the right and bottom edges, so pixels keep their places."
        return dataclasses.replace(camera, size=size), told
    if how == "crop-centre":
        told = f"{sizes}: taken as cut or padded alike on both sides, and the principal point is moved."
        return _resized(camera, 1.0, difference / 2, size), told
    raise CalibrationError(f"{sizes}: neither a resized nor a slightly cut image; use the calibration of this footage.")
