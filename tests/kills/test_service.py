"""A service killed again and again under a client that retries: what was answered stays, what was not is done once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest

import holdfast as hf
from holdfast.runtime.points import KILL_POINTS
from holdfast.runtime.rehearsal import KILL, PACE, REPLAY
from tests.kills import service
from tests.repository import ROOT

KILLS = 66
NIGHTLY_SEEDS = range(100, 115)
PRODUCERS = 3
LANES = 4  # of each producer: so many requests of it are on their way at once
CUSTOMERS = 5
SECONDS_MAX = 20.0  # nothing that is waited for takes longer
AGAIN_SHARE = 0.1  # of the requests are sent once more although they were answered
REPLAY_SHARE = 0.2  # of the kills at points: while the service is catching up
RANDOM_SHARE = 0.4  # of the kills: at no point, but at a moment
PACED = "0:256"  # small epochs and a checkpoint every few of them


class Client:
    """Producers that send, and send again until they are answered."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.sequences = [0] * PRODUCERS
        self.answers: dict[tuple[str, int], Any] = {}
        self.sent: dict[tuple[str, int], list[Any]] = {}
        self.retries = 0
        self.stopping = False
        self.up = asyncio.Event()
        self.path = ""
        self.progress = asyncio.Condition()

    async def lane(self, number: int) -> None:
        """One request after the other, each until it is answered."""
        while not self.stopping:
            self.sequences[number] += self.random.randint(1, 3)
            sequence = self.sequences[number]
            kind = "send" if self.random.random() < 0.2 else "ask"
            request = [kind, f"p{number}", sequence, f"c{self.random.randrange(CUSTOMERS)}", self.random.randint(1, 20)]
            identity = (f"p{number}", sequence)
            self.sent[identity] = request
            self.answers[identity] = await self.until_answered(request)
            if self.random.random() < AGAIN_SHARE:
                again = await self.until_answered(["ask", *request[1:]])
                if kind == "ask":
                    assert again == self.answers[identity], "a retry was answered otherwise"
                self.answers[identity] = again
            async with self.progress:
                self.progress.notify_all()

    async def until_answered(self, request: list[Any]) -> Any:
        while True:
            await self.up.wait()
            path = self.path
            try:
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(json.dumps(request).encode() + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
                if line:
                    return json.loads(line)
            except OSError:
                pass
            self.retries += 1
            if path == self.path:
                self.up.clear()  # it is gone; who starts it anew says when it is up

    async def answered(self, more: int) -> None:
        """Wait until so many more requests are answered."""
        target = len(self.answers) + more
        async with self.progress:
            await self.progress.wait_for(lambda: len(self.answers) >= target)


class Services:
    """The lives of the service."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, client: Client) -> None:
        self.process = process
        self.folder = folder
        self.client = client
        self.number = 0
        self.struck: Counter[str] = Counter()

    async def start(self, kill: str) -> int:
        self.number += 1
        path = f"{self.number}.sock"
        request = {"socket": path, "env": {PACE: PACED, KILL: kill}}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        pid: int = (await self.heard())["pid"]
        return pid

    async def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), SECONDS_MAX)
        assert line, "the spawner ended"
        heard: dict[str, Any] = json.loads(line)
        return heard

    async def live(self, random: Random, point: str) -> None:
        """One life, killed at the point or, without one, at a moment."""
        kill = ""
        if point:
            when = f":{REPLAY}" if random.random() < REPLAY_SHARE else ""
            kill = f"{point}:{random.randint(1, 3)}{when}"
        pid = await self.start(kill)
        heard = await self.heard()
        if "listening" in heard:
            self.client.path = str(self.folder / heard["listening"])
            self.client.up.set()
            if not point:
                await asyncio.wait_for(self.client.answered(random.randrange(40)), SECONDS_MAX)
                await asyncio.sleep(random.uniform(0, 0.01))
                os.kill(pid, signal.SIGKILL)
            heard = await self.heard()
        log = (self.folder / "service.log").read_text()
        assert heard["status"] == -signal.SIGKILL, log[-3000:]
        self.struck[point or "at a moment"] += 1
        self.client.up.clear()

    async def last(self) -> None:
        """A life that is not killed until everything that was sent is answered."""
        pid = await self.start("")
        heard = await self.heard()
        self.client.path = str(self.folder / heard["listening"])
        self.client.stopping = True
        self.client.up.set()
        self.last_pid = pid


async def campaign(folder: Path, seed: int, kills: int) -> tuple[Client, Services]:
    random = Random(seed)
    client = Client(Random(random.random()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.kills.service"),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    services = Services(process, folder, client)
    try:
        lanes = [asyncio.ensure_future(client.lane(n)) for n in range(PRODUCERS) for _ in range(LANES)]
        points: list[str] = []
        for _ in range(kills):
            points = points or random.sample(KILL_POINTS, len(KILL_POINTS))
            await services.live(random, "" if random.random() < RANDOM_SHARE else points.pop())
            for lane in lanes:
                assert not lane.done(), lane.exception()
        await services.last()
        await asyncio.wait_for(asyncio.gather(*lanes), SECONDS_MAX)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return client, services


def judge(folder: Path, client: Client) -> None:
    """The serial order is that of the output; the reference over it must give every byte and every answer."""
    with hf.Engine(service.application(), data=folder / "data"):
        pass  # a clean end: all that is logged is delivered
    lines = (folder / service.OUTPUT).read_text().splitlines()
    outputs = [json.loads(line) for line in lines]
    delivered = Counter((producer, sequence) for producer, sequence, *_ in outputs)
    assert max(delivered.values()) == 1, "an order was booked twice"
    for output in outputs:
        identity = (output[0], output[1])
        assert client.sent[identity][1:] == output[:4], "an order is not what was sent"
        answer = client.answers[identity]
        assert answer in (None, [output]), f"{identity} was answered {answer}, and {output} was delivered"
    skipped = {identity for identity in client.sent if identity not in delivered}
    assert {tuple(client.answers[identity] or ()) for identity in skipped} <= {()}
    balances: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for _, _, customer, amount, balance, count, _ in outputs:
        held = balances[customer]
        held[0], held[1] = held[0] + amount, held[1] + 1
        assert [balance, count] == held, "an answer does not follow from the ones before it"


def run_and_judge(folder: Path, seed: int, kills: int, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        client, services = asyncio.run(campaign(folder, seed, kills))
        judge(folder, client)
    finally:
        os.chdir(before)
    with capsys.disabled():
        told = f"{len(client.answers)} requests, {client.retries} retries"
        sys.stdout.write(f"\nservice, seed {seed}: {told}; {dict(services.struck)}\n")
    assert services.struck.total() == kills
    assert client.retries > kills


def test_a_service_that_is_killed_again_and_again_keeps_every_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_and_judge(tmp_path / "service", 1, KILLS, capsys)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", NIGHTLY_SEEDS)
def test_a_service_keeps_every_answer_whatever_the_seed(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_and_judge(tmp_path / "service", seed, KILLS, capsys)
