"""Webhooks: numbered, in order, tried again, once where the receiver can tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.errors import ApplicationError, SinkError
from tests.connectors.killing import Killing
from tests.connectors.receiver import Answer, Receiver, receiver

OUTPUTS = [{"n": n, "text": "ü" * (n % 5)} for n in range(60)]
LINES = 800
APP = """
import holdfast as hf

app = hf.Application("hooks")
app.source(hf.sources.TextFile("input.txt", follow=True)).sink(hf.sinks.Webhook({url!r}, {options}))
"""


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def opened(hook: Receiver, **options: Any) -> hf.sinks.Webhook:
    sink = hf.sinks.Webhook(hook.url, **options)
    sink.claim("owner")
    return sink


def post(sink: hf.sinks.Webhook, first: int, *outputs: Any) -> None:
    sink.write("0", first, [sink.encode(output) for output in outputs])


def once(posts: list[tuple[str, int, Any]]) -> list[Any]:
    """What a receiver keeps that looks at the numbers; the same number must always be the same output."""
    kept: dict[int, Any] = {}
    for _, number, body in posts:
        assert number <= len(kept) + 1, "a number was passed over"
        assert kept.setdefault(number, body) == body
    return list(kept.values())


def test_each_output_is_a_request_with_its_number_and_a_key_that_stays_the_same(hook: Receiver) -> None:
    sink = opened(hook, headers={"Authorization": "Bearer x"})
    assert sink.resume("0", None) is None
    post(sink, 1, {"ü": [1, None]}, "text")
    sink.close()
    again = opened(hook)
    post(again, 2, "text")
    again.close()
    assert hook.posts[0][1:] == (1, {"ü": [1, None]})
    assert hook.posts[1] == hook.posts[2]
    first, second, third = hook.headers
    assert first["Authorization"] == "Bearer x"
    assert first["Content-Type"] == "application/json"
    assert second["Idempotency-Key"] == third["Idempotency-Key"] == f"{hook.posts[0][0]}-2"


def test_batches_are_arrays_numbered_by_their_first(hook: Receiver) -> None:
    sink = opened(hook, batch=3)
    post(sink, 1, *OUTPUTS[:7])
    sink.close()
    assert [(number, body) for _, number, body in hook.posts] == [
        (1, OUTPUTS[:3]), (4, OUTPUTS[3:6]), (7, OUTPUTS[6:7]),
    ]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("tell", [False, True])
def test_the_sink_keeps_the_contract_while_it_is_killed(hook: Receiver, tell: bool, batch: int) -> None:
    def stored() -> Iterator[Any]:
        for _, _, body in hook.posts:
            yield from body if batch > 1 else [body]

    testing.check_sink(lambda: hf.sinks.Webhook(hook.url, tell=tell, batch=batch), OUTPUTS, read=stored, kills=6)
    if batch == 1:
        assert once(hook.posts) == OUTPUTS


def test_a_receiver_that_says_not_now_or_goes_is_tried_again_in_order(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.connectors.webhook._RETRY_SECONDS_MIN", 0.001)
    monkeypatch.setattr("holdfast.connectors.webhook._RETRY_SECONDS_MAX", 0.01)
    random = Random(1)

    def moody(number: int) -> Any:
        return random.choice([True, True, (503, b"busy"), (429, b""), None])

    hook.before = moody
    hook.after = lambda number: random.choice([(200, b"ok"), (204, b""), (500, b"after all"), None])
    sink = opened(hook)
    for number, output in enumerate(OUTPUTS[:20], 1):
        post(sink, number, output)
    sink.close()
    assert once(hook.posts) == OUTPUTS[:20]
    assert len(hook.posts) > 20


def test_a_receiver_that_is_restarted_is_waited_for(hook: Receiver) -> None:
    sink = opened(hook)
    post(sink, 1, "a")
    hook.stop()
    starter = threading.Timer(0.2, hook.start)
    starter.start()
    post(sink, 2, "b")
    starter.join()
    sink.close()
    assert once(hook.posts) == ["a", "b"]


def test_a_receiver_that_stays_away_ends_patience_with_one_line(hook: Receiver) -> None:
    sink = opened(hook, patience=0.2)
    hook.stop()
    with pytest.raises(SinkError, match=r"/hook could not be reached for 0\.2 s \(output 1\): ConnectionRefusedError"):
        post(sink, 1, "a")


def test_a_receiver_that_does_not_answer_in_time_gets_it_again(hook: Receiver) -> None:
    waiting = threading.Event()

    def late(number: int) -> Answer:
        if len(hook.posts) == 1:
            waiting.wait(30)
        return 200, b""

    hook.after = late
    sink = opened(hook, timeout=0.2)
    post(sink, 1, "a")
    waiting.set()
    sink.close()
    assert hook.numbers() == [1, 1]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 422])
def test_a_refusal_names_the_output_and_the_answer(status: int, hook: Receiver) -> None:

    def refuse(number: int) -> Answer | bool:
        return (status, b"no,\nthanks") if number == 2 else True

    hook.before = refuse
    sink = opened(hook)
    with pytest.raises(SinkError, match=rf"does not take output 2: it answers {status} 'no,\\nthanks'"):
        post(sink, 1, "a", "b", "c")
    sink.close()
    assert hook.numbers() == [1]


def test_an_answer_that_is_no_number_is_refused(hook: Receiver) -> None:
    hook.has = lambda stream: -1  # type: ignore[method-assign]
    sink = opened(hook, tell=True)
    with pytest.raises(SinkError, match=r"was asked what it has and answered '-1\\n', not a number"):
        sink.resume("0", None)
    sink.close()


def test_a_huge_output_arrives_whole(hook: Receiver) -> None:
    sink = opened(hook)
    post(sink, 1, "x" * 5_000_000)
    sink.close()
    assert len(hook.posts[0][2]) == 5_000_000


def test_what_is_no_json_is_an_error_of_the_step(hook: Receiver) -> None:
    with pytest.raises(TypeError):
        opened(hook).encode({1, 2})
    with pytest.raises(UnicodeEncodeError):
        opened(hook).encode("\ud800")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://x", {}),
        ("localhost:80", {}),
        ("http://", {}),
        ("http://user:secret@x", {}),
        (3, {}),
        ("http://x", {"batch": 0}),
        ("http://x", {"headers": {"A": "b\r\nC: d"}}),
    ],
)
def test_wrong_options_are_refused_when_the_sink_is_made(url: Any, options: Any) -> None:
    with pytest.raises(ApplicationError):
        hf.sinks.Webhook(url, **options)


@pytest.mark.parametrize("options", ["batch=1", "tell=True"])
def test_through_the_command_nothing_is_lost_however_run_and_receiver_die(
    options: str, hook: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP.format(url=hook.url, options=options))
    path = tmp_path / "input.txt"
    path.touch()

    def feed(start: int, end: int) -> None:
        with path.open("a") as file:
            file.writelines(f"line {number}\n" for number in range(start, end))
        if start % 200 == 100:
            hook.stop()
            hook.start()

    killing = Killing(tmp_path, feed=feed, progress=lambda: len(set(hook.numbers())), total=LINES)
    killing.survive(kills=3)

    assert once(hook.posts) == [f"line {number}" for number in range(LINES)]
    assert len({stream for stream, _, _ in hook.posts}) == 1
    if options == "tell=True":
        assert hook.numbers() == list(range(1, LINES + 1))
