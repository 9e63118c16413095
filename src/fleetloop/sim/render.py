"""A scene's cameras as pictures, and an episode as a film.

OpenGL is set up at the first picture, never on import, so that what needs no pictures needs no OpenGL. Which one:
MUJOCO_GL where it is set (`egl`, `osmesa`, `glfw`), else on Linux EGL where its library is there, else OSMesa;
elsewhere what mujoco chooses. No window is opened. A `Cameras` belongs to the thread that took its first picture.
"""

import ctypes
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import imageio.v2 as imageio
import mujoco
import numpy as np
import numpy.typing as npt

from fleetloop.sim.scene import CONTROL_HZ, Scene

Image = npt.NDArray[np.uint8]

POLICY_CAMERAS = ("overhead", "wrist_L", "wrist_R")
MAX_GEOMS = 1000
LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
REMEDY = "apt-get install libosmesa6 libegl1 libgl1-mesa-dri, or choose another with MUJOCO_GL"
FORMATS: dict[str, dict[str, Any]] = {
    ".mp4": {"fps": CONTROL_HZ, "macro_block_size": 2},  # even sides are enough: nothing is rescaled
    ".gif": {"duration": 1000 / CONTROL_HZ, "loop": 0},
}
# Each costs time and shows nothing that a policy needs.
FLAGS_OFF = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
)


class NoGL(RuntimeError):
    """There is no OpenGL to draw with; the message says what to install."""


class Cameras:
    """The cameras of one scene. Close it, or use it as a context manager."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._largest = int(min(scene.model.vis.global_.offwidth, scene.model.vis.global_.offheight))
        self._gl: Any = None
        self._drawing: mujoco.MjrContext | None = None
        self._geometry: mujoco.MjvScene | None = None
        self._views: dict[str, mujoco.MjvCamera] = {}

    def images(self, names: Sequence[str] = POLICY_CAMERAS, px: int = 96) -> dict[str, Image]:
        """The scene as it is now: per camera a (px, px, 3) picture, top row first.

        Raises:
            NoGL: if there is no OpenGL.
            ValueError: if a camera does not exist, or `px` is not within 1 and the offscreen buffer's size.
        """
        if not 0 < px <= self._largest:
            raise ValueError(f"cameras: px is {px}; choose 1 to {self._largest}")
        views = [self._view(name) for name in names]
        model, data = self._scene.model, self._scene.data
        drawing, geometry = self._open()
        rectangle = mujoco.MjrRect(0, 0, px, px)
        # The geometry is the same for all cameras: it is gathered once, and the eye alone moves.
        mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, views[0], mujoco.mjtCatBit.mjCAT_ALL, geometry)
        pictures: dict[str, Image] = {}
        for name, view in zip(names, views, strict=True):
            mujoco.mjv_updateCamera(model, data, view, geometry)
            mujoco.mjr_render(rectangle, geometry, drawing)
            upside_down = np.empty((px, px, 3), np.uint8)
            mujoco.mjr_readPixels(upside_down, None, rectangle, drawing)
            pictures[name] = np.ascontiguousarray(upside_down[::-1])
        return pictures

    def close(self) -> None:
        """Free what OpenGL holds; the next picture would set it up again."""
        if self._gl is not None and self._drawing is not None:
            self._gl.make_current()
            self._drawing.free()
        if self._gl is not None:
            self._gl.free()
        self._gl = self._drawing = self._geometry = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _view(self, name: str) -> mujoco.MjvCamera:
        if name not in self._views:
            number = mujoco.mj_name2id(self._scene.model, mujoco.mjtObj.mjOBJ_CAMERA, name)
            if number < 0:
                known = [self._scene.model.camera(index).name for index in range(self._scene.model.ncam)]
                raise ValueError(f"cameras: there is no camera {name!r}; there are {', '.join(known)}")
            view = mujoco.MjvCamera()
            view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, number
            self._views[name] = view
        return self._views[name]

    def _open(self) -> tuple[mujoco.MjrContext, mujoco.MjvScene]:
        if self._drawing is None or self._geometry is None:
            self._gl, self._drawing = _drawing(self._scene.model)
            self._geometry = mujoco.MjvScene(self._scene.model, MAX_GEOMS)
            for flag in FLAGS_OFF:
                self._geometry.flags[flag] = 0
        else:
            self._gl.make_current()
        return self._drawing, self._geometry


def _drawing(model: mujoco.MjModel) -> tuple[Any, mujoco.MjrContext]:
    """A new OpenGL context, made current, and mujoco's offscreen drawing in it.

    Raises:
        NoGL: if there is none to be had.
    """
    backend = _backend()
    try:
        module = importlib.import_module(f"mujoco.{backend}" if backend else "mujoco")
        context = module.GLContext(model.vis.global_.offwidth, model.vis.global_.offheight)
        context.make_current()
        drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    except Exception as error:  # PyOpenGL raises whatever its loader meets, and GLFW leaves it to mujoco
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NoGL(f"no OpenGL to draw with ({backend or 'mujoco default'}: {reason}); {REMEDY}") from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, drawing)
    return context, drawing


def _backend() -> str:
    """`egl`, `osmesa`, `glfw`, or "" for what mujoco chooses."""
    wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
    if wanted and wanted not in (*LIBRARIES, "glfw"):
        raise NoGL(f"no OpenGL to draw with: MUJOCO_GL is {wanted!r}; unset it, or choose egl, osmesa or glfw")
    if wanted or sys.platform != "linux":
        return wanted
    for backend, library in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return backend
    raise NoGL(f"no OpenGL to draw with: neither EGL nor OSMesa is installed; {REMEDY}")


def record(
    scene: Scene,
    act: Callable[[], npt.NDArray[np.float64]],
    path: str | Path,
    *,
    seconds: float,
    cameras: Sequence[str] = ("front",),
    px: int = 320,
) -> bool:
    """Film a scene that was just reset, side by side from `cameras`, until it succeeds or `seconds` have passed.

    `act` is asked for each tick's (2, 5) set-points (an expert's `action`, say). The ending of `path` chooses the
    format: `.mp4` or `.gif`. Returns whether the task succeeded.

    Raises:
        NoGL: if there is no OpenGL.
        ValueError: if `path` ends otherwise, or the pictures cannot be drawn in this size.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"record: {path.name} must end in {' or '.join(FORMATS)}")
    with Cameras(scene) as eyes:
        frames = _film(scene, act, eyes, ticks=round(seconds * CONTROL_HZ), cameras=cameras, px=px)
        first = next(frames)  # where it cannot be drawn, no empty file is left behind
        writer: Any = imageio.get_writer(path, **FORMATS[path.suffix])
        with closing(writer):
            writer.append_data(first)
            for frame in frames:
                writer.append_data(frame)
    return scene.success()


def _film(
    scene: Scene,
    act: Callable[[], npt.NDArray[np.float64]],
    eyes: Cameras,
    *,
    ticks: int,
    cameras: Sequence[str],
    px: int,
) -> Iterator[Image]:
    yield np.hstack(list(eyes.images(cameras, px).values()))
    for _ in range(ticks):
        scene.step(act())
        yield np.hstack(list(eyes.images(cameras, px).values()))
        if scene.success():
            return
