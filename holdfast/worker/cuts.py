"""Cuts: which ends of epochs the whole cluster can return to, and what is still wanted of them.

A cut is made by every member at the end of the same epoch. It is replicated here when all own backups hold its images
and this member holds the tokens of all sinks at it; sealed when that, durability and delivery are true at every member.
Invariant: nothing behind the last sealed cut is ever forgotten before a later one is known to be sealed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from holdfast.replication.progress import Progress

Token = tuple[int, object]  # (number of the sink's last output, what its flush or position gave)


class Cuts:
    """The cuts of one generation."""

    def __init__(self, cut: int, sinks: int, tokens: Mapping[int, Token], time: int) -> None:
        """It begins at a cut, at which the sinks stood as the tokens say (as far as they are known here)."""
        self.times = {cut: time}  # of the last turn at each cut
        self.sealed = cut
        self.sinks = sinks
        self.made = [cut]  # from the last sealed one on
        self.held: dict[str, int] = {}  # backup -> the last cut whose images it holds
        self.tokens: dict[int, dict[int, Token]] = {cut: dict(tokens)}  # cut -> sink -> token
        self._replicated: int | None = None  # asked for far more often than it changes; None: not known

    def expect(self, backups: Iterable[str], lacking: Collection[str]) -> None:
        """The own ranges have these backups; those in `lacking` hold nothing before their snapshot is acknowledged."""
        self._replicated = None
        self.held = {node: self.made[0] - 1 if node in lacking else self.made[0] for node in backups}

    def make(self, cut: int, time: int) -> None:
        """A cut is made here; `time` is that of the last turn."""
        self._replicated = None
        self.made.append(cut)
        self.times[cut] = time
        self.tokens.setdefault(cut, {})  # there may be no sinks

    def hold(self, node: str, cut: int) -> None:
        """A backup holds the images of this cut."""
        if node in self.held:
            self._replicated = None
            self.held[node] = max(self.held[node], cut)

    def note(self, cut: int, sink: int, token: Token) -> None:
        """Where a sink stands at a cut."""
        if cut >= self.sealed:
            self._replicated = None
            self.tokens.setdefault(cut, {})[sink] = token

    @property
    def caught_up(self) -> bool:
        """Whether all backups hold at least what the generation began with."""
        return all(cut >= self.made[0] for cut in self.held.values())

    @property
    def replicated(self) -> int:
        """The last cut that all own backups hold, with the tokens of all sinks here."""
        if self._replicated is None:
            held = min(self.held.values(), default=self.made[-1])
            complete = [cut for cut in self.made if cut <= held and len(self.tokens.get(cut, ())) == self.sinks]
            self._replicated = max([self.sealed, *complete])
        return self._replicated

    def seal(self, progress: Progress, before: int | None) -> bool:
        """Move `sealed` to the last cut that is sealed by now; a cut at or behind `before` lies inside an epoch."""
        if len(self.made) < 2 or progress.sealed < self.made[1]:
            return False  # which is seen at nearly every event
        sealed = max((c for c in self.made if c <= progress.sealed and (before is None or c < before)), default=0)
        if sealed <= self.sealed:
            return False
        self.sealed, self._replicated = sealed, None
        self.made = [cut for cut in self.made if cut >= sealed]
        self.tokens = {cut: tokens for cut, tokens in self.tokens.items() if cut >= sealed}
        self.times = {cut: time for cut, time in self.times.items() if cut >= sealed}
        return True
