"""Which labels train, so that the cost of a fine-tuning stays in bounds as a run's labels grow.

Training on all labels at each of n updates costs in proportion to n² over the run. Here all of the newest block takes
part, and of the older blocks a fixed number of labels:

- ``window``: the latest ones. It follows a run that still moves, and forgets where the run has been;
- ``reservoir``: a uniform random sample of all of them, drawn by a hash of the content. From one update to the next
  it changes in as few configurations as a uniform sample can, and needs no memory of the updates before.

Training and validating configurations keep their roles; of the older validating ones as many are taken in proportion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from aiida_slhmc.worker.dataset import Frame, Split, joined
from aiida_slhmc.worker.fine_tune_options import SelectionParameters

__all__ = ("select",)


def select(blocks: Sequence[Split], options: SelectionParameters) -> Split:
    """Return the frames that take part, in the order of the blocks.

    :param blocks: of :func:`~aiida_slhmc.worker.dataset.split_blocks`, the last is the newest
    """
    if options.size is None:
        return joined(blocks)
    older, newest = joined(blocks[:-1]), blocks[-1]
    if not older.training:
        return joined(blocks)
    n_training = min(options.size, len(older.training))
    # at least one validates, where there are any: the newest block may have none
    n_validation = max(1, round(n_training * len(older.validation) / len(older.training)))
    chosen = Split(
        _chosen(older.training, n_training, options.method), _chosen(older.validation, n_validation, options.method)
    )
    return joined([chosen, newest])


def _chosen(frames: list[Frame], count: int, method: str) -> list[Frame]:
    if count >= len(frames):
        return frames
    if method == "window":
        return frames[len(frames) - count :]
    kept = set(sorted(range(len(frames)), key=lambda index: _rank(frames[index]))[:count])
    return [frame for index, frame in enumerate(frames) if index in kept]


def _rank(frame: Frame) -> str:
    """A random number that belongs to the configuration.

    Not the content's hash itself: the smallest of those validate, so that the others are no uniform sample.
    """
    return hashlib.sha256(f"reservoir {frame.content}".encode()).hexdigest()
