"""Dealing: what one feeder gives in one epoch, dealt out to the members that apply or deliver it, in pieces.

A piece is closed, and packed where it goes to another member, as soon as it is full: while its messages are still in
the processor's cache. With whole epochs of some ten thousand messages, dealing out costs five times as much (measured).
Invariant: the pieces of a member and an inlet, one behind the other, are what was given for them, in that order.
Not here: who gets what (routes, keeping), and how the pieces of several members become one run (exchange).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.core.positions import Column

Packed = list[tuple[int, bytes]]  # (inlet, packed piece)


class Dealing:
    """One feeder's part of one epoch."""

    def __init__(
        self,
        node: str,
        split: Callable[[int, Column], Mapping[str, Column]],
        pack: Callable[[Column], bytes],
        *,
        messages_max: int,
    ) -> None:
        """`split` parts a column by node; of a piece of `messages_max` messages, or a few more, no more is awaited."""
        self.own: dict[int, list[Column]] = {}  # inlet -> pieces for the member itself
        self._node = node
        self._split = split
        self._pack = pack
        self._messages_max = messages_max
        self._open: dict[tuple[str, int], Column] = {}
        self._packed: dict[str, Packed] = {}

    def give(self, inlet: int, column: Column) -> None:
        """What the feeder gave next for an inlet; the column's lists are the caller's again afterwards."""
        for node, part in self._split(inlet, column).items():
            piece = self._open.pop((node, inlet), None)
            if piece is not None:
                piece.extend(part)
            elif part.messages is column.messages:
                piece = Column()
                piece.extend(part)
            else:
                piece = part
            if len(piece.messages) >= self._messages_max:
                self._close(node, inlet, piece)
            else:
                self._open[node, inlet] = piece

    def close(self) -> Mapping[str, Packed]:
        """That was all: what the others get."""
        for (node, inlet), piece in self._open.items():
            self._close(node, inlet, piece)
        self._open.clear()
        return self._packed

    def _close(self, node: str, inlet: int, piece: Column) -> None:
        if node == self._node:
            self.own.setdefault(inlet, []).append(piece)
        else:
            self._packed.setdefault(node, []).append((inlet, self._pack(piece)))
