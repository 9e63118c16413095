"""An S3 server on this machine, and a look at what a hub keeps, wherever that is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import obstore
from moto.server import ThreadedMotoServer
from obstore.store import LocalStore, S3Store

from fleetloop.hub.options import HubOptions
from fleetloop.hub.storage.directory import ROOMS


@dataclass
class S3Server:
    """A real socket, and the whole of S3's interface behind it. What it holds outlives `stop`."""

    port: int = 0
    _server: ThreadedMotoServer = field(init=False)

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()

    @property
    def environment(self) -> Mapping[str, str]:
        """What a hub needs to find it."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }


class Kept:
    """The objects of a hub, seen past the hub."""

    def __init__(self, options: HubOptions) -> None:
        self._store: LocalStore | S3Store
        if options.store:
            self._store = S3Store.from_url(options.store, client_options={"allow_http": True})
        else:
            options.directory.mkdir(exist_ok=True)
            self._store = LocalStore(options.directory)

    def names(self, *rooms: str) -> list[str]:
        """Every object of these rooms; of all, and whatever is on its way in, if none is named."""
        found = (one["path"] for batch in obstore.list(self._store) for one in batch)
        return sorted(name for name in found if name.split("/")[0] in (rooms or (*ROOMS, "incoming")))

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, name).bytes())

    def write(self, name: str, data: bytes) -> None:
        obstore.put(self._store, name, data)

    def remove(self, name: str) -> None:
        obstore.delete(self._store, name)

    def damage(self, name: str) -> None:
        """Flip one bit."""
        data = bytearray(self.read(name))
        data[len(data) // 2] ^= 1
        self.write(name, bytes(data))
