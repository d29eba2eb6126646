"""The OpenGL back end: moderngl on EGL, which needs no display; a GPU where there is one, else Mesa's llvmpipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import cv2
import numpy as np

from mocap.errors import SetupError
from mocap.geometry.cameras import Camera
from mocap.render.layer import Layer, nothing, window_of
from mocap.render.mesh import FAR, NEAR, Light, Mesh, bent, in_front, lit

_SAMPLES = 4
_FINER, _FINE_PIXELS = 2, 600_000
"""Bodies are drawn this many times as large and scaled down, where they reach over no more of the picture than this
[px]: with four samples a pixel fingers, toes and faces shimmer as they move, with sixteen they hardly do (numbers in
benchmarks/render.py). What fills more of the picture has large triangles and would cost too much."""
_VERTEX = """
#version 330
uniform mat4 clip_from_camera;
in vec3 point;
in vec3 colour;
centroid out vec3 tint;
void main() {
    gl_Position = clip_from_camera * vec4(point, 1.0);
    tint = colour;
}
"""
_FRAGMENT = """
#version 330
centroid in vec3 tint;
out vec4 rgba;
void main() { rgba = vec4(tint, 1.0); }
"""


class GLRasteriser:
    """Meshes through OpenGL 3.3, sixteen samples a pixel, four for what is large. Used by the thread that made it.

    Raises:
        SetupError: No OpenGL can be had here; the sentence says what the system said.
    """

    name = "gl"

    def __init__(self) -> None:
        try:
            import moderngl
        except ImportError as error:
            raise SetupError(f"OpenGL drawing needs the package moderngl ({error}).") from error
        self._gl = moderngl
        try:
            self._context = moderngl.create_context(
                standalone=True,
                require=330,
                backend="egl",  # pyright: ignore[reportArgumentType] (it goes into **settings)
            )
        except Exception as error:  # the library raises nothing more special than Exception itself
            raise SetupError(f"No OpenGL 3.3 through EGL here ({error}).") from error
        self._program = self._context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self._make_target(256, 256)
        self.device = str(self._context.info["GL_RENDERER"])

    def _make_target(self, width: int, height: int) -> None:
        gl, size = self._context, (width, height)
        samples = min(_SAMPLES, gl.max_samples)
        self._many = gl.framebuffer(
            [gl.renderbuffer(size, 4, samples=samples)], gl.depth_renderbuffer(size, samples=samples)
        )
        self._one = gl.framebuffer([gl.renderbuffer(size, 4)])
        self._size = size

    def draw(
        self, camera: Camera, meshes: Sequence[Mesh], light: Light, meanwhile: Callable[[], None] = nothing
    ) -> Layer | None:
        """See :class:`mocap.render.layer.Rasteriser`."""
        placed = [bent(camera, mesh.vertices) for mesh in meshes]
        window = window_of(camera, placed)
        if window is None:
            meanwhile()
            return None
        x0, y0, columns, rows = window
        finer = _FINER if columns * rows <= _FINE_PIXELS else 1
        width, height = columns * finer, rows * finer
        if width > self._size[0] or height > self._size[1]:
            for old in (self._many, self._one):
                old.release()
            # in steps, so that a body that grows in the picture does not make a new target every frame
            self._make_target(
                *(-(-max(new, old) // 256) * 256 for new, old in zip((width, height), self._size, strict=True))
            )
        gl, target = self._context, self._many
        target.use()
        target.viewport = target.scissor = (0, 0, width, height)
        target.clear(0.0, 0.0, 0.0, 0.0)
        gl.enable_only(self._gl.DEPTH_TEST)
        gl.cull_face = "front"  # the projection is upside down, and so are the ways round
        self._program["clip_from_camera"] = tuple(_clip_from_camera(camera.K, window).T.ravel())
        for mesh, points in zip(meshes, placed, strict=True):
            (gl.enable if mesh.surface.closed else gl.disable)(self._gl.CULL_FACE)
            self._draw_one(points, mesh.surface.faces, lit(mesh, camera.centre, light))
        gl.copy_framebuffer(self._one, target)
        meanwhile()
        data = self._one.read(viewport=(0, 0, width, height), components=4, alignment=1)
        # row 0 of the buffer is the top row: the projection is upside down for it
        drawn = np.frombuffer(data, np.uint8).reshape(height, width, 4)
        return Layer(cv2.resize(drawn, (columns, rows), interpolation=cv2.INTER_AREA) if finer > 1 else drawn, (x0, y0))

    def _draw_one(self, points: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> None:
        usable = in_front(points)
        if not usable.all():
            faces, points = faces[usable[faces].all(-1)], np.where(usable[:, None], points, 0)
        if not len(faces):
            return
        gl = self._context
        with ExitStack() as stack:  # half a megabyte a body: sending it anew each frame costs next to nothing
            at, tint, index = (
                gl.buffer(np.ascontiguousarray(values, kind).tobytes())
                for values, kind in ((points, "f4"), (colours, "f4"), (faces, "i4"))
            )
            array = gl.vertex_array(self._program, [(at, "3f", "point"), (tint, "3f", "colour")], index)
            for made in (at, tint, index, array):
                stack.callback(made.release)
            array.render()

    def close(self) -> None:
        """Gives the context back."""
        self._context.release()


def _clip_from_camera(K: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """OpenGL's projection for OpenCV's camera axes and a window of its picture, row 0 first in memory."""
    x0, y0, width, height = window
    P = np.zeros((4, 4))
    P[0] = [2 * K[0, 0] / width, 2 * K[0, 1] / width, 2 * (K[0, 2] + 0.5 - x0) / width - 1, 0]
    P[1] = [0, 2 * K[1, 1] / height, 2 * (K[1, 2] + 0.5 - y0) / height - 1, 0]
    P[2, 2], P[2, 3] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    P[3, 2] = 1
    return P
