"""Images and depth that were taken at nearly the same time: paired by time stamps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def associate(
    first_s: Sequence[float], second_s: Sequence[float], max_difference_s: float
) -> list[tuple[int, int]]:
    """Pair each time of one list with one of the other, nearest pairs first; return pairs of indices, in order.

    first_s, second_s: ascending, in seconds. No time is used twice. Pairs that are farther apart than
    `max_difference_s` are none. Of equally near pairs the earlier wins.
    """
    candidates = []
    for i, time in enumerate(first_s):
        j = bisect_left(second_s, time - max_difference_s)
        while j < len(second_s) and second_s[j] <= time + max_difference_s:
            candidates.append((abs(second_s[j] - time), i, j))
            j += 1
    pairs, seconds = dict[int, int](), set[int]()
    for _, i, j in sorted(candidates):
        if i not in pairs and j not in seconds:
            pairs[i] = j
            seconds.add(j)
    return sorted(pairs.items())
