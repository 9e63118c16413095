"""Real processes for tests: `processes.py hub DIRECTORY PORT`, `processes.py courier HOST_DIRECTORY HUB_URL [MBPS]`."""

import logging
import sys
from pathlib import Path

from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.host import HostDirectory
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.run import run_courier
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    if sys.argv[1] == "hub":
        serve(HubOptions(directory=Path(sys.argv[2]), port=int(sys.argv[3])), Wall())
    else:
        disk = RealDisk()
        options = CourierOptions(retry_longest_wall_s=0.5, poll_wall_s=5.0)
        hub = HttpHub(sys.argv[3], uplink_mbps=float(sys.argv[4]) if len(sys.argv) > 4 else None)
        run_courier(HostDirectory(Path(sys.argv[2]), disk), hub, disk=disk, clock=Wall(), options=options)


if __name__ == "__main__":
    main()
