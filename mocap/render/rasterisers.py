"""Which back end draws, and why."""

from __future__ import annotations

from typing import Literal

from mocap.errors import SetupError
from mocap.render.gl import GLRasteriser
from mocap.render.layer import Rasteriser
from mocap.render.software import SoftwareRasteriser

Backend = Literal["auto", "gl", "software"]


def open_rasteriser(backend: Backend = "auto") -> tuple[Rasteriser, str]:
    """A back end, and a sentence for the report on which it is and why.

    Raises:
        SetupError: "gl" was asked for and there is no OpenGL here.
    """
    if backend == "software":
        return SoftwareRasteriser(), "software, as asked"
    try:
        made = GLRasteriser()
    except SetupError as error:
        if backend == "gl":
            raise SetupError(f'{error} Use "backend: software", which needs no OpenGL.') from error
        return SoftwareRasteriser(), f"software, since there is no OpenGL to draw with: {error}"
    return made, f"OpenGL on {made.device}" + (", as asked" if backend == "gl" else "")
