"""What kinds of messages travel on connections. The numbers are part of the protocol; 0 is the beat (connection)."""

from __future__ import annotations

from typing import Final

ENVELOPE: Final = 1  # a member to a member (replication.wire)
STATUS: Final = 2  # a worker to the coordinator (recovery.wire)
ORDER: Final = 3  # the coordinator to a worker (recovery.wire)
REGISTRATION: Final = 4  # a worker to the coordinator, first of all (book)
BOOK: Final = 5  # the coordinator to a worker (book)
QUESTION: Final = 6  # a command to whom it asks, and
ANSWER: Final = 7  # back; what is asked belongs to those who talk
REFUSAL: Final = 8  # the coordinator to a worker that can't take part: a text that says why
OBSERVED: Final = 9  # a worker to the coordinator: numbers for people (observation), the newest counts
LETTERS: Final = 12  # a client to the member that takes a source's letters (letters), and
FATES: Final = 13  # back
