"""Outputs posted to a URL, in order, each with its number: a sink that can't tell what it has, unless its receiver can.

Invariant: a request is sent only when the one before it was answered with success, so the receiver gets the numbers
in order, and after a crash or an answer that was lost some of them again. The same output has the same
`Idempotency-Key` for ever.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

import xxhash

from holdfast.connectors import json_text
from holdfast.core.errors import ApplicationError, SinkError

_RETRY_SECONDS_MIN, _RETRY_SECONDS_MAX = 0.05, 5.0
_ANSWER_BYTES_MAX = 1 << 16
# Answers that say "not now"; every other one but success says "not this".
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


class Webhook:
    """Posts each output as JSON, with headers that number it. At least once, or exactly once with `tell`.

    The headers are `Holdfast-Stream`, which names this sink on this data directory; `Holdfast-Number`, counted from 1;
    and `Idempotency-Key`, which joins the two. With `batch` above 1 up to so many outputs go as one JSON array, and the
    number is the first one's. With `tell=True` the receiver is asked, at every start, by GET with `Holdfast-Stream`: it
    answers 200 with the last number that it has, as decimal digits. `timeout` is how many seconds an answer may take,
    `patience` how long a receiver that is gone or says "not now" is tried again.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        batch: int = 1,
        tell: bool = False,
        timeout: float = 30.0,
        patience: float = 300.0,
    ) -> None:
        self._url = urlsplit(str(url))
        if self._url.scheme not in ("http", "https") or not self._url.hostname or self._url.username is not None:
            raise ApplicationError(f"sinks.Webhook takes an http or https URL without a user in it, not {url!r}")
        if type(batch) is not int or batch < 1:
            raise ApplicationError(f"batch= is a positive int, not {batch!r}")
        self._headers = _checked_headers(headers or {})
        self._batch = batch
        self._tell = tell
        self._timeout = timeout
        self._patience = patience
        self._stream = xxhash.xxh3_64_hexdigest(b"")
        self._connection: http.client.HTTPConnection | None = None

    def encode(self, value: object, /) -> bytes:
        """The JSON text of an output."""
        return json_text.json_line(value)[:-1]

    def claim(self, owner: str) -> None:
        """Whose outputs come."""
        self._stream = xxhash.xxh3_64_hexdigest(owner.encode())

    def resume(self, partition: str, token: object, /) -> int | None:
        """What the receiver has, if it can tell."""
        if not self._tell:
            return None
        answer = self._answered("GET", None, {}, "what it has")
        text = answer.strip()
        if not text.isdigit():
            raise SinkError(f"{self._place} was asked what it has and answered {_shown(answer)}, not a number")
        return int(text)

    def write(self, partition: str, first_number: int, outputs: Sequence[bytes], /) -> None:
        """Post them in order."""
        for start in range(0, len(outputs), self._batch):
            piece = outputs[start : start + self._batch]
            number = first_number + start
            body = b"[" + b",".join(piece) + b"]" if self._batch > 1 else piece[0]
            headers = {
                "Content-Type": "application/json",
                "Idempotency-Key": f"{self._stream}-{number}",
                "Holdfast-Number": str(number),
            }
            self._answered("POST", body, headers, f"output {number}")

    def flush(self, partition: str, /) -> None:
        """What was answered with success is the receiver's."""

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- one request, as often as it takes

    def _answered(self, method: str, body: bytes | None, headers: Mapping[str, str], what: str) -> bytes:
        since = time.monotonic()
        wait = _RETRY_SECONDS_MIN
        while True:
            try:
                status, answer, asked_wait = self._exchange(method, body, headers)
                if 200 <= status < 300:
                    return answer
                reason = f"it answers {status}"
                if status not in _LATER:
                    raise SinkError(f"{self._place} does not take {what}: it answers {status} {_shown(answer)}")
            except ssl.SSLCertVerificationError as error:
                raise SinkError(f"{self._place} can't be trusted: {error.verify_message}") from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                reason, asked_wait = f"{type(error).__name__}: {error}", 0.0
            left = self._patience - (time.monotonic() - since)
            if left <= 0:
                raise SinkError(f"{self._place} could not be reached for {self._patience:g} s ({what}): {reason}")
            time.sleep(min(max(wait, asked_wait), left))
            wait = min(2 * wait, _RETRY_SECONDS_MAX)

    def _exchange(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes, float]:
        """Status, the beginning of the answer, and how many seconds it asks to wait."""
        connection = self._connected()
        target = urlunsplit(("", "", self._url.path or "/", self._url.query, ""))
        connection.request(method, target, body, {"Holdfast-Stream": self._stream, **self._headers, **headers})
        response = connection.getresponse()
        answer = response.read(_ANSWER_BYTES_MAX)
        after = response.headers.get("Retry-After", "")
        if not response.isclosed():
            self.close()  # the rest of a long answer is nobody's
        return response.status, answer, float(after) if after.isdigit() else 0.0

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
            assert self._url.hostname is not None
            self._connection = kind(self._url.hostname, self._url.port, timeout=self._timeout)
        return self._connection

    @property
    def _place(self) -> str:
        """The receiver, without what may be secret in its URL."""
        return f"webhook {self._url.scheme}://{self._url.netloc}{self._url.path}"


def _checked_headers(headers: Mapping[str, object]) -> dict[str, str]:
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if type(name) is not str or type(value) is not str or any(c in name + value for c in "\r\n\0"):
            raise ApplicationError(f"headers= is a dict of str without line ends, not {name!r}: {value!r}")
        checked[name] = value
    return checked


def _shown(answer: bytes) -> str:
    """The beginning of an answer, in one line."""
    return repr(answer[:200].decode("utf-8", "replace"))
