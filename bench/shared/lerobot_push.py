"""How LeRobot's HIL-SERL brings weights to an actor: its own code, between two processes of this machine.

`links.py --lerobot PYTHON` runs this with the Python of LeRobot's environment (`.ci/make-lerobot-venv` makes it), so
that both stand in one run. LeRobot's `LearnerService` streams what its `state_to_bytes` makes of all weights by gRPC,
over the same line; the actor's thread puts the chunks together, and `bytes_to_state_dict` makes weights of them. Its
pause between two pushes (4 s as it comes) is 0 here. Nothing is checked: it has no hashes.

Prints, as JSON, the bytes and the seconds from the learner's weights to the actor's.
"""

import argparse
import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import grpc
import torch
from lerobot.rl.learner_service import MAX_WORKERS, LearnerService
from lerobot.rl.queue import get_last_item_from_queue
from lerobot.transport import services_pb2, services_pb2_grpc
from lerobot.transport.utils import (
    MAX_MESSAGE_SIZE,
    bytes_to_state_dict,
    grpc_channel_options,
    receive_bytes_in_chunks,
    state_to_bytes,
)
from safetensors.torch import load_file
from torch.multiprocessing import Queue

from shared.shaped import shaped

PUSHES = 2  # the first one warms up
CORES = sorted(os.sched_getaffinity(0))
NEVER_S = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="a safetensors file")
    parser.add_argument("--mbps", type=float)
    parser.add_argument("--delay-s", type=float, default=0.0, help="there and back")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {CORES[0]})
    weights = load_file(given.weights)
    queue: Queue[bytes] = Queue()
    server, port = _serving(queue)  # which ends when nobody holds it any more
    with shaped(f"http://127.0.0.1:{port}", given.mbps, given.delay_s / 2) as way:
        ours, theirs = multiprocessing.Pipe()
        actor = multiprocessing.Process(target=_actor, args=(theirs, way.url), daemon=True)
        actor.start()
        ours.recv()
        took = []
        for _ in range(PUSHES):
            began = time.time()
            queue.put(state_to_bytes(weights))
            took.append(ours.recv() - began)
        actor.terminate()
        actor.join()
    server.stop(None)
    print(json.dumps({"MB": way.down / PUSHES / 1e6, "seconds": took[-1]}), flush=True)
    os._exit(0)  # its service waits for ever


def _serving(queue: "Queue[bytes]") -> tuple[grpc.Server, int]:
    """A learner's server of what is put into the queue, and its port."""
    service = LearnerService(Event(), queue, 0.0, Queue(), Queue())
    limits = ("grpc.max_receive_message_length", "grpc.max_send_message_length")
    server = grpc.server(ThreadPoolExecutor(MAX_WORKERS), options=[(name, MAX_MESSAGE_SIZE) for name in limits])
    services_pb2_grpc.add_LearnerServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def _actor(said: Connection, url: str) -> None:
    os.sched_setaffinity(0, {CORES[-1]})
    torch.set_num_threads(1)
    channel = grpc.insecure_channel(urlsplit(url).netloc, grpc_channel_options())
    stub = services_pb2_grpc.LearnerServiceStub(channel)
    queue: Queue[bytes] = Queue()
    stream = stub.StreamParameters(services_pb2.Empty())
    Thread(target=receive_bytes_in_chunks, args=(stream, queue, Event()), daemon=True).start()
    said.send("ready")
    while True:
        held = bytes_to_state_dict(get_last_item_from_queue(queue, block=True, timeout=NEVER_S))
        said.send(time.time())
        del held


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
