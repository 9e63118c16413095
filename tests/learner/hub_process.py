"""A hub as a process of its own, for the tests: prints its URL."""

import sys
from pathlib import Path

from fleetloop.core.clock import Wall
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve

serve(HubOptions(directory=Path(sys.argv[1]), port=0), Wall(), ready=lambda url: print(url, flush=True))
