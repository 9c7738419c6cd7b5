"""A PostgreSQL server of the test's own, from the system's packages: on a Unix socket in a folder of its own.

As root it runs as another user, because the server refuses root. Stopped by its process id.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS_MAX = 60.0
POLL_SECONDS = 0.02


def binaries() -> Path | None:
    """The folder of the server's programs: on the path, or where the system's packages put them."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    places += [Path(place) for place in ("/usr/local/pgsql/bin", "/usr/pgsql/bin")]
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def missing() -> str:
    """Why there can be no server here; empty if there can."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        return f"psycopg is missing: {error}"
    if binaries() is None:
        return "no PostgreSQL server here: apt-get install postgresql"
    if os.getuid() == 0 and _user() is None:
        return "PostgreSQL refuses root, and there is no other user to run it as"
    return ""


def _user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


class Server:
    """One server; its folder is removed with it."""

    def __init__(self) -> None:
        folder = binaries()
        assert folder is not None
        self._binaries = folder
        self._as_user: Mapping[str, Any] = {}
        # Not below pytest's folder: others may not enter that one, and a socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
        if os.getuid() == 0:
            user = _user()
            assert user is not None
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self._data), "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    def conninfo(self, database: str = "postgres") -> str:
        return f"host={self.folder} user=test dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
            **self._as_user,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start and wait until it answers."""
        import psycopg

        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # no power is lost here, and what a dead process has written stays
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binaries / "postgres",
                    *("-D", str(self._data)),
                    *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
                ],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                stdout=log,
                stderr=log,
                **self._as_user,
            )
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            try:
                psycopg.connect(self.conninfo()).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(POLL_SECONDS)

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """SIGINT ends its connections and shuts down, SIGQUIT is a crash that leaves no process behind."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(SECONDS_MAX)
            self._process = None

    def restart(self, how: int = signal.SIGQUIT) -> None:
        self.stop(how)
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def sql(self, statement: str, *values: Any, database: str = "postgres", many: bool = False) -> list[Any]:
        """Do something in a connection of its own."""
        import psycopg

        with psycopg.connect(self.conninfo(database), autocommit=True) as connection, connection.cursor() as cursor:
            if many:
                cursor.executemany(statement.encode(), values)
            else:
                cursor.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def server() -> Iterator[Server]:
    """A running server."""
    made = Server()
    try:
        made.start()
        yield made
    finally:
        made.remove()
