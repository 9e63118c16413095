"""A PostgreSQL of the tests' own: Debian's programs, in a directory and at a port that nobody else uses."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pg8000.dbapi

from ports import free_port

USER = "fleetloop"
PATIENCE_S = 60.0


def programs() -> Path | None:
    """Where the newest that is installed has its programs; they are in nobody's PATH."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))


class Postgres:
    """A server with one database. Its `fsync` is off: what is tested here is no power cut."""

    def __init__(self) -> None:
        # As root PostgreSQL refuses to run; and its user may not be let into the directory for temporary files.
        place = pwd.getpwnam("postgres").pw_dir if os.geteuid() == 0 else None
        self._directory, self._port = Path(tempfile.mkdtemp(prefix="fleetloop-tests-", dir=place)), free_port()
        if place:
            shutil.chown(self._directory, "postgres", "postgres")
        made = self._command("initdb", "--username", USER, "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=self._directory)
        self.start()

    def start(self) -> None:
        command = self._command("postgres", "-p", self._port, "-h", "127.0.0.1", "-k", self._directory, "-F")
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)
        deadline = time.monotonic() + PATIENCE_S
        while not self._serves():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not serve"
            time.sleep(0.05)

    def speak_tls(self, certificate: Path, key: Path) -> None:
        for name, source in {"server.crt": certificate, "server.key": key}.items():
            file = self._directory / "data" / name
            file.write_bytes(source.read_bytes())
            file.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(file, "postgres", "postgres")
        self.stop()
        (self._directory / "data" / "postgresql.auto.conf").write_text("ssl = on\n")
        self.start()

    def encrypted(self) -> int:
        """How many connections of others are encrypted."""
        with closing(self._connected()) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()")
            (count,) = cursor.fetchone()
            return int(count)

    def stop(self) -> None:
        """At once, as if it had crashed."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    def emptied(self) -> str:
        """The URL of the database, as `hub.catalog` names it; whatever was in it is gone."""
        with closing(self._connected()) as connection:
            connection.autocommit = True
            connection.cursor().execute("DROP SCHEMA public CASCADE")
            connection.cursor().execute("CREATE SCHEMA public")
        return f"postgresql://{USER}@127.0.0.1:{self._port}/postgres"

    def _serves(self) -> bool:
        try:
            self._connected().close()
        except pg8000.dbapi.Error:
            return False
        return True

    def _connected(self) -> pg8000.dbapi.Connection:
        return pg8000.dbapi.connect(USER, host="127.0.0.1", port=self._port, database="postgres")

    def _command(self, program: str, *arguments: object) -> list[str]:
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.geteuid() == 0 else []
        return [*user, f"{programs()}/{program}", "-D", *map(str, [self._directory / "data", *arguments])]
