"""A real nginx in front of a hub, with the configuration that the documentation shows."""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from ports import free_port

PAGE = Path(__file__).parents[1] / "docs/how-to/site-cache.md"
PATIENCE_S = 20.0
TLS = re.compile(r" *proxy_ssl_.*\n")


@dataclass(frozen=True)
class SiteCacheServer:
    """Where it listens, and the files of what it keeps."""

    url: str
    store: Path

    def kept(self) -> list[Path]:
        return sorted(path for path in self.store.rglob("*") if path.is_file())


@contextmanager
def site_cache(directory: Path, hub: str, token: str = "") -> Iterator[SiteCacheServer]:
    """Listens on this machine. The hub speaks plain http here."""
    directory.mkdir()
    port, store = free_port(), directory / "store"
    (shown,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    said = _changed(
        TLS.sub("", shown),
        {
            "/var/cache/nginx/releases": str(store),
            "listen 8080": f"listen 127.0.0.1:{port}",
            "192.168.3.0/24": "127.0.0.1",
            "https://hub.lab:8787": hub,
            "SECRET": token,
        },
    )
    rooms = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"user root;\npid {directory}/pid;\nerror_log {directory}/errors;\ndaemon off;\nworker_processes 1;\n"
    events = "events { worker_connections 512; }\n"
    config = directory / "nginx.conf"
    config.write_text(f"{main}{events}http {{\naccess_log off;\n{rooms}{said}}}\n")
    process = subprocess.Popen(["nginx", "-c", str(config), "-e", str(directory / "errors")])
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE_S
        while not _listens(url):
            said = (directory / "errors").read_text() if (directory / "errors").exists() else ""
            assert process.poll() is None, said
            assert time.monotonic() < deadline, f"nginx does not listen: {said}"
            time.sleep(0.01)
        yield SiteCacheServer(url, store)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _changed(text: str, changes: Mapping[str, str]) -> str:
    for shown, used in changes.items():
        assert shown in text, f"{PAGE.name} shows no {shown!r} any more"
        text = text.replace(shown, used)
    return text


def _listens(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == httpx.codes.NOT_FOUND
    except httpx.TransportError:
        return False
