"""Memory for one large matrix after the other."""

from __future__ import annotations

from torch import Tensor


class Room:
    """One stretch of memory that the matrices of successive blocks share.

    A fresh matrix for every block would have its pages made anew by the system, which takes as long as a pass over it.

    Args:
        like: the dtype and device of the matrices.
    """

    def __init__(self, like: Tensor) -> None:
        self._memory = like.new_empty(0)

    def matrix(self, rows: int, columns: int) -> Tensor:
        """Return (rows, columns) with any content; it is valid until the next call."""
        entries = rows * columns
        if self._memory.numel() < entries:
            self._memory = self._memory[:0].clone()  # given back before more is taken
            self._memory = self._memory.new_empty(entries)
        return self._memory[:entries].view(rows, columns)
