"""Makes `mocap/io/data/phones.json`: focal lengths of phones by model, for cameras that nobody calibrated.

    python tools/phone_table.py phone_intrinsics.json

The input is OpenCap's calibrations of iPhones and iPads (github: opencap-org/opencap-core, folder CameraIntrinsics,
commit e1a44f3, Apache-2.0) as one JSON: `{"iPhone13,2/Deployed": {"K": 3x3, "dist": [...], "size_hw": [h, w]}, ...}`.
A model's value is the median over its deployments of the mean of fx and fy by the image's longer side.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

NAMES = {
    "iPhone 6s": "iPhone8,1", "iPhone SE": "iPhone8,4", "iPhone 8": "iPhone10,1", "iPhone 8 Plus": "iPhone10,2",
    "iPhone X": "iPhone10,3", "iPhone XS": "iPhone11,2", "iPhone XS Max": "iPhone11,6", "iPhone XR": "iPhone11,8",
    "iPhone 11": "iPhone12,1", "iPhone 11 Pro": "iPhone12,3", "iPhone 11 Pro Max": "iPhone12,5",
    "iPhone SE (2nd generation)": "iPhone12,8", "iPhone 12 mini": "iPhone13,1", "iPhone 12": "iPhone13,2",
    "iPhone 12 Pro": "iPhone13,3", "iPhone 12 Pro Max": "iPhone13,4", "iPhone 13 mini": "iPhone14,4",
    "iPhone 13": "iPhone14,5", "iPhone 13 Pro": "iPhone14,2", "iPhone 13 Pro Max": "iPhone14,3",
    "iPhone SE (3rd generation)": "iPhone14,6", "iPhone 14": "iPhone14,7", "iPhone 14 Plus": "iPhone14,8",
    "iPhone 14 Pro": "iPhone15,2", "iPhone 14 Pro Max": "iPhone15,3", "iPhone 15": "iPhone15,4",
    "iPhone 15 Plus": "iPhone15,5", "iPhone 15 Pro": "iPhone16,1", "iPhone 15 Pro Max": "iPhone16,2",
    "iPhone 16": "iPhone17,3", "iPhone 16 Plus": "iPhone17,4", "iPhone 16 Pro": "iPhone17,1",
    "iPhone 16 Pro Max": "iPhone17,2", "iPhone 16e": "iPhone17,5",
}  # fmt: skip
"""What pictures and videos call the models that Apple numbers."""


def table(intrinsics: dict) -> dict:
    """What `phones.json` holds."""
    found = defaultdict(list)
    for name, camera in intrinsics.items():
        K = camera["K"]
        found[name.partition("/")[0]].append(mean((K[0][0], K[1][1])) / max(camera["size_hw"]))
    return {
        "what": "Focal length by the longer side of the image, in video: the median of the calibrations of a model.",
        "source": "opencap-org/opencap-core, commit e1a44f3, CameraIntrinsics; see README.md",
        "licence": "Apache-2.0",
        "focal_by_longer_side": {model: round(median(found[model]), 4) for model in sorted(found)},
        "names": {name: model for name, model in NAMES.items() if model in found},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Makes the table of phones.")
    parser.add_argument("source", type=Path)
    out = Path(__file__).resolve().parents[1] / "mocap" / "io" / "data" / "phones.json"
    out.write_text(json.dumps(table(json.loads(parser.parse_args().source.read_bytes())), indent=1) + "\n")
