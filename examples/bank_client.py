"""Pays in COUNT times, one cent each, and sends every payment until it is answered: `bank_client.py PORT NAME COUNT`.

The id is (NAME, number of the payment). Start and kill the service as often as you like meanwhile: the balance at the
end is COUNT. The client that is started again begins with payment 1; what was booked before is answered, not booked.
"""

import http.client
import json
import sys
import time
from typing import Any


def post(port: int, path: str, identity: str) -> Any:
    """The answer, or None where there was none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, headers={"X-Id": identity})
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def main(port: int, name: str, count: int) -> None:
    retries = 0
    for number in range(1, count + 1):
        while (answer := post(port, f"/{name}/1", f"{name} {number}")) is None:
            retries += 1
            time.sleep(0.02)
        assert answer["balance"] == number, answer
    print(f"{count} payments, {retries} retries", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
