"""What sort of subject is looked for, with the lengths, times and words that belong to it: bodies, or hands alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mocap.skeletons import FINGERS, HANDS42, Skeleton


@dataclass(frozen=True)
class Kind:
    """One sort of subject."""

    marks: tuple[tuple[str, str], ...]
    """Pairs of joints whose middle is a mark, by which candidates are compared; a joint with itself is a point."""
    fewest: int
    """Fewer marks in common tell nobody."""
    guesses: int
    """So many pairs of candidates a moment are looked at in the other views; more where they are easily mistaken."""
    apart: float
    """Two hypotheses nearer to one another are one subject [m]."""
    touching: bool
    """Whether two are so near at times that a candidate fits both."""
    moment: float
    """Subjects are told apart so often [s], whatever the frame rate; in between they move in a straight line."""
    bridge: float
    """A subject's place is interpolated over a gap no longer than this [s]."""
    nearby: float
    """A candidate's track must fit the subject in most frames so near in time [s]."""
    reach: tuple[float, float, float]
    """How far marks move in space: at once, by noise [m], a second [m/s], and at most [m]. A faster one makes several
    tracks, which are joined."""
    lags: tuple[int, ...]
    """After so many moments somebody who was missed is looked for."""
    reach_in_view: tuple[float, float, float]
    """The same in the image, in sizes of the subject."""
    people: int
    """How many are looked for where nothing is said."""
    exactly: bool
    """Whether so many must be there; else those on whom views agree are taken, up to so many."""
    one: str
    many: str
    somebody: str
    nobody: str
    unseen: str
    """What to ask where not even two views ever see one."""

    def reach_3d(self, seconds: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """How far marks move in a time [m]."""
        return _reach(self.reach, seconds)

    def reach_2d(self, seconds: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """How far marks move in a time in the image, in sizes of the subject."""
        return _reach(self.reach_in_view, seconds)


def _reach(reach: tuple[float, float, float], seconds: np.ndarray) -> np.ndarray:
    noise, speed, most = reach
    return np.minimum(noise + speed * seconds, most)


# A detector that takes left for right moves no middle, so it cannot hide a person. Within 0.1 s joints keep within 3 cm
# of a straight line. In the image: 7 m/s.
BODY = Kind(
    marks=tuple((f"left_{p}", f"right_{p}") for p in ("ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")),
    fewest=3,
    guesses=10,
    apart=0.3,
    touching=False,
    moment=0.1,
    bridge=0.5,
    nearby=1.0,
    reach=(0.2, 5.0, 1.0),
    lags=(1,),
    reach_in_view=(0.1, 4.0, 0.6),
    people=1,
    exactly=True,
    one="person",
    many="people",
    somebody="somebody",
    nobody="nobody",
    unseen="is there anybody in these pictures?",
)

# Wrist, knuckles and fingertips, by the names they have on a right hand (see `hands.as_hands`). Joints of two hands
# that lie palm on palm are 3 cm apart. Hands reach 50 m/s^2, by which they leave a straight line by 7 mm in a 30th of a
# second.
HAND = Kind(
    marks=tuple(
        (joint, joint)
        for joint in ("right_hand_wrist", *(f"right_{finger}_{at}" for finger in FINGERS for at in ("mcp", "tip")))
    ),
    fewest=5,
    guesses=24,
    apart=0.02,
    touching=True,
    moment=1 / 30,
    bridge=0.2,
    nearby=0.3,
    reach=(0.05, 5.0, 0.5),
    lags=(1, 2, 3),
    reach_in_view=(0.2, 15.0, 1.0),
    people=2,
    exactly=False,
    one="hand",
    many="hands",
    somebody="a hand",
    nobody="no hand",
    unseen="do hands fill a good part of the pictures? Those of whole bodies are for --exp config/fitSMPLH.yml.",
)


def kind_of(skeleton: Skeleton) -> Kind:
    """Hands where a keypoint set has nothing else, else bodies."""
    return HAND if HANDS42.has(*skeleton.joints) else BODY
