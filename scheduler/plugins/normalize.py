"""Bringing raw scores into 0..100.

Source: pkg/scheduler/framework/plugins/helper/normalize_score.go.
"""

from scheduler.framework.interface import MAX_NODE_SCORE


def default_normalize(scores: list[int], *, reverse: bool) -> None:
    """The highest becomes 100; with `reverse` the highest becomes 0."""
    highest = max(scores, default=0)
    if highest == 0:
        if reverse:
            scores[:] = [MAX_NODE_SCORE] * len(scores)
        return
    for i, score in enumerate(scores):
        scaled = MAX_NODE_SCORE * score // highest
        scores[i] = MAX_NODE_SCORE - scaled if reverse else scaled
