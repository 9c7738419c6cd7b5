"""Recoveries that earlier lives of the coordinator have seen: kept beside its record, so that a restart forgets none.

Only those that are over are kept. Nothing is decided by them: where the record can't be understood there are none.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from holdfast.recovery.recoveries import Recovery
from holdfast.storage.lmdb_state import LmdbState

META = "recoveries"


def keep_recoveries(state: LmdbState, recoveries: Iterable[Recovery]) -> None:
    """Make them durable, in place of what was kept before; any thread."""
    state.put_meta(META, msgspec.to_builtins([own for own in recoveries if own.flowing is not None]))


def earlier_recoveries(state: LmdbState) -> list[Recovery]:
    """What was kept, oldest first."""
    try:
        return msgspec.convert(state.get_meta(META) or [], list[Recovery])
    except msgspec.ValidationError:
        return []
