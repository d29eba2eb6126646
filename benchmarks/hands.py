"""The fit of hands, and of a body with its hands, beside that of the same body without fingers, in one run.

    python benchmarks/hands.py                  # 120 and 1000 frames: under two minutes on two cores
    python benchmarks/hands.py --frames 300

Takes are those of `tests/moving.py`: a person whose every joint swings and whose fingers open and close, seen as
mediapipe's 33 points, as these and both hands' 21, and with hands that nobody saw; and a hand by itself. 10 mm of noise
per axis, 3 mm for points of hands, 5 % missing, 30 frames a second. Losses are those of `config/fitSMPLH.yml`. The
whole fit is timed: shape, root and motion. On a busy machine compare processor seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]
from fit import machine, table
from moving import (  # pyright: ignore[reportMissingImports] - of tests/
    OF_HANDS,
    Truth,
    again,
    fitted,
    gesturing,
    measured,
    moving,
    with_hands,
)

from mocap.bodies.load import load_body
from mocap.bodies.ranges import of_hands
from mocap.skeletons import MEDIAPIPE33
from mocap.terms.ground import Ground
from mocap.terms.prior import Prior

NOISE, OF_HAND = 0.01, 0.003


def takes(frames: int, seed: int = 2) -> dict[str, tuple[Truth, bool]]:
    """Who moves, and whether hands were seen."""
    whole, alike = with_hands(frames, seed), moving("anatomical", frames, seed)
    return {
        "body, 24 joints": (Truth(load_body("embedded"), whole.betas, alike.motion, whole.clock, MEDIAPIPE33), True),
        "body with hands, unseen": (whole, False),
        "body with hands": (whole, True),
        "hand": (gesturing("right", frames, seed), True),
    }


def row(name: str, truth: Truth, frames: int, seen: bool) -> list[str]:
    """Seconds, processor seconds, and mean errors of joints of body and fingers [mm]."""
    hands = truth.skeleton.of_hands()
    points = measured(truth, 2, noise=np.where(hands, OF_HAND, NOISE))
    if not seen:
        points.confidence[:, hands] = 0.0
    losses = OF_HANDS if hands.all() else OF_HANDS | {"prior": Prior(), "ground": Ground()}
    wall, cpu = time.perf_counter(), time.process_time()
    fit = fitted(truth, points, losses)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    off = 1000 * np.linalg.norm(again(truth, fit).joints - truth.joints, axis=-1)
    fingers = of_hands(truth.body.joint_names)
    ends = np.array([n.endswith("_hand") for n in truth.body.joint_names])  # of the body without fingers alone
    errors = [f"{off[:, which].mean():.2f}" if which.any() else "" for which in (~fingers & ~ends, fingers)]
    return [name, f"{frames:,}", f"{wall:.2f}", f"{cpu:.2f}", *errors]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[120, 1000])
    frames = parser.parse_args().frames
    for name, (truth, seen) in takes(30).items():
        row(name, truth, 30, seen)  # what is loaded on first use
    rows = [row(name, truth, n, seen) for n in frames for name, (truth, seen) in takes(n).items()]
    print(f"{machine()}, {os.getloadavg()[0]:.1f} at the end\n" if hasattr(os, "getloadavg") else f"{machine()}\n")
    print(table(("take", "frames", "s", "CPU s", "joints of the body mm", "fingers mm"), rows))


if __name__ == "__main__":
    main()
