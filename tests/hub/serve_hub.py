"""A hub process for the tests: options as JSON in, the URL out."""

import sys

from hub_world import TASKS

from fleetloop.core.clock import Wall
from fleetloop.core.errors import FleetLoopError
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve

try:
    serve(HubOptions.model_validate_json(sys.argv[1]), Wall(), tasks=TASKS, ready=lambda url: print(url, flush=True))
except FleetLoopError as error:
    sys.exit(str(error))
