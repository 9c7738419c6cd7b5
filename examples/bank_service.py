"""A service with an account per customer, as an ASGI application: `uvicorn bank_service:app`, or any other server.

    curl -X POST localhost:8080/ann/250 -H 'X-Id: till-7 1'     {"customer": "ann", "balance": 250, "refused": null}
    curl localhost:8080/ann                                     {"cents": 250, "payments": 1}

Kill it whenever you like (`kill -9`) and start it again: a payment that was answered is booked, one that was not may be
sent again with the same X-Id and is booked once. `bank_client.py` does that. With WORKERS=3 in the environment accounts
are kept by so many processes of the service's own; kill those as you like, too. Without an ASGI server at hand, `python
bank_service.py [PORT]` serves it with the few lines below, which are no server for the outside world.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from bank import Payment, make_app

import holdfast as hf

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@asynccontextmanager
async def lifespan(state: dict[str, Any]) -> AsyncIterator[None]:
    async with hf.Engine(make_app(), data="bank-data", workers=WORKERS, target="bank:app") as state["engine"]:
        yield


STATE: dict[str, Any] = {}
WORKERS = int(os.environ.get("WORKERS", "1"))


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    status, answer = await respond(STATE["engine"], scope["method"], scope["path"], dict(scope["headers"]))
    body = json.dumps(answer).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def respond(engine: Any, method: str, path: str, headers: dict[bytes, bytes]) -> tuple[int, Any]:
    """POST /customer/cents pays in, GET /customer looks."""
    match method, path.strip("/").split("/"):
        case "POST", [customer, cents] if cents.lstrip("-").isdigit():
            producer, _, sequence = headers.get(b"x-id", b"").decode().partition(" ")
            identity = (producer, int(sequence)) if sequence.isdigit() else None
            replies = await engine.ask("payments", Payment(customer, int(cents)), id=identity)
            return (200, asdict(replies[0])) if replies else (422, None)
        case "GET", [customer] if customer:
            account = await engine.query("pay", customer)
            return (404, None) if account is None else (200, asdict(account))
    return 404, None


async def live(receive: Receive, send: Send) -> None:
    """The server says when to begin and when to end."""
    await receive()
    async with lifespan(STATE):
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def serve(port: int) -> None:
    """One request for each connection: enough to try the example."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, path, _ = (await reader.readline()).decode().split(" ", 2)
        headers = []
        while line := (await reader.readline()).strip():
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip()))

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                writer.write(b"HTTP/1.1 %d -\r\nconnection: close\r\n\r\n" % message["status"])
            else:
                writer.write(message["body"])

        try:
            await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
        finally:
            writer.close()

    async with lifespan(STATE), await asyncio.start_server(connected, "127.0.0.1", port) as server:
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
