"""Pictures that have nothing to do with one another: found by name, opened by their heads alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mocap.errors import BadFile, DataError, MissingFile
from mocap.io.focal import Told, of_picture
from mocap.io.footage import IMAGE_SUFFIXES, VIDEO_SUFFIXES, images_in
from mocap.take import View


def find_pictures(root: Path) -> dict[str, Path]:
    """Name without suffix -> picture, in natural order, of `root`/images or of `root` itself; or `root` alone.

    Raises:
        MissingFile: No pictures; says what is there instead.
        DataError: Two pictures of one name.
    """
    if root.is_file() and root.suffix.casefold() in IMAGE_SUFFIXES:
        return {root.stem: root}
    files = []
    for folder in (root / "images", root):
        files = files or (images_in(folder) if folder.is_dir() else [])
    if not files:
        raise MissingFile(root, what="Pictures", remedy=f"Looked for {root}/images/*.jpg|png.{_instead(root)}")
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise DataError(f'Two pictures are called "{file.stem}": {found[file.stem]} and {file}.')
        found[file.stem] = file
    return found


def _instead(root: Path) -> str:
    """What else is at `root`, and which dataset is for it."""
    videos = [root, *root.glob("*"), *root.glob("videos/*")]
    if any(path.suffix.casefold() in VIDEO_SUFFIXES for path in videos):
        return " There are videos: of one camera, use --data config/datasets/svimage.yml."
    if any(path.is_dir() and images_in(path) for path in root.glob("images/*")):
        return (
            " There are folders of pictures by camera: use --data config/datasets/svimage.yml for one of them, "
            "config/datasets/mvimage.yml for all together."
        )
    return ""


def open_pictures(files: dict[str, Path]) -> tuple[dict[str, View], dict[str, Told], list[str]]:
    """Each picture as a view of one frame at 0 s, what its file tells of its camera, and names of the unreadable."""
    views, told, unreadable = {}, {}, []
    for name, file in files.items():
        try:
            size, told[name] = of_picture(file)
        except BadFile:
            unreadable.append(name)
            continue
        views[name] = View(name, file, np.zeros(1), size, (file,))
    return views, told, unreadable


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a sentence, the first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
