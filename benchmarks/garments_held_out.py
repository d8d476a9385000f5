"""Writes the held-out garments that ship: `python benchmarks/garments_held_out.py [FOLDER]`.

They are the first 200 of each class among the 10000 test images of Fashion-MNIST, which FOLDER holds as gzipped IDX.
"""

import sys
from pathlib import Path

import numpy as np

from derivations.kit import garments

EACH = 200


def main() -> int:
    test = garments.test_garments(Path(sys.argv[1]) if len(sys.argv) > 1 else garments.FOLDER)
    rows = np.sort(np.concatenate([np.flatnonzero(test.labels == label)[:EACH] for label in range(10)]))
    labels = test.labels[rows].numpy().astype(np.uint8)
    np.savez_compressed(garments.HELD_OUT, images=garments.levels_of(test.images[rows]), labels=labels)
    print(f"{garments.HELD_OUT}: {len(rows)} images, {garments.HELD_OUT.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
