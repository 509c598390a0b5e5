"""A real PostgreSQL server for the tests: made in a temporary folder, reached by a socket there, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from support.skipping import missing

USER, PASSWORD = "grader", "correct-horse"
PROGRAMS = "/usr/lib/postgresql/*/bin"  # where Debian puts them, which is on nobody's PATH


@dataclass
class Postgres:
    """A server that runs, or that was stopped."""

    folder: Path
    command: list[str]
    account: dict[str, object]
    process: subprocess.Popen | None = None

    def url(self, database: str, password: str = PASSWORD) -> str:
        """The db_url of a database."""
        return f"postgresql+psycopg://{USER}:{password}@/{database}?host={self.folder}"

    def new(self, database: str) -> str:
        """The db_url of a new, empty database."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {database}")
        engine.dispose()
        return self.url(database)

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            RuntimeError: it did not; the text ends with what it said.
        """
        log = self.folder / "log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(self.command, stdout=file, stderr=file, cwd="/", **self.account)
        while self.process.poll() is None:
            engine = create_engine(self.url("postgres"))
            try:
                engine.connect().close()
                return
            except OperationalError:
                time.sleep(0.05)
            finally:
                engine.dispose()
        raise RuntimeError(f"the PostgreSQL server did not start: {log.read_text()[-1000:]}")

    def stop(self) -> None:
        """End it, with all connections to it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": it ends its connections and says goodbye
            self.process.wait(timeout=60)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server; the test is skipped, in CI failed, where PostgreSQL is not installed."""
    places = os.pathsep.join([os.environ["PATH"], *map(str, sorted(Path("/").glob(PROGRAMS[1:]), reverse=True))])
    initdb, program = (shutil.which(name, path=places) for name in ("initdb", "postgres"))
    if not initdb or not program:
        missing("no PostgreSQL server: install it (Debian: apt-get install postgresql)")
    account = _account()
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="pg") as name:  # a socket's path may have 107 characters
        folder = Path(name)
        password = folder / "password"
        password.write_text(PASSWORD)
        for path in (folder, password):
            path.chmod(0o755)
            if account:
                shutil.chown(path, account["user"])
        make = [initdb, "-D", f"{folder}/data", "-U", USER, f"--pwfile={password}", "--auth=scram-sha-256"]
        make += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(make, cwd="/", capture_output=True, text=True, **account)
        assert done.returncode == 0, done.stderr
        settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off"}
        command = [program, "-D", f"{folder}/data", *(f"--{name}={value}" for name, value in settings.items())]
        server = Postgres(folder, command, account)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _account() -> dict[str, object]:
    """As whom the server runs: it refuses to be started by root."""
    if os.geteuid():
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
