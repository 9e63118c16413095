"""Whatever a failing disk makes of a file in the spool, the courier goes on with the next one."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from spooled import FakeHub, record

from fleetloop.core.alarm import Alarms
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.host import HostDirectory
from fleetloop.core.recording import seal
from fleetloop.core.validation import validate
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.spool import Spool
from fleetloop.courier.uploader import Uploader

flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)
cuts = st.one_of(st.none(), st.floats(0, 1))


@settings(max_examples=60, deadline=None)
@given(flips, cuts, st.booleans())
def test_a_damaged_file_is_uploaded_sound_or_set_aside(changes, cut, sealed_before):
    with tempfile.TemporaryDirectory() as directory:
        host = HostDirectory(Path(directory), RealDisk())
        hub = FakeHub(Path(directory) / "hub")
        damaged, sound = record(host, 1), record(host, 2)
        file = host.spool / f"{damaged}.partial"
        if sealed_before:
            file = seal(RealDisk(), file).path
        data = bytearray(file.read_bytes())
        for place, value in changes:
            data[int(place * len(data))] = value
        file.write_bytes(data if cut is None else data[: int(cut * len(data))])
        options, alarms = CourierOptions(), Alarms()
        spool = Spool(host.spool, RealDisk(), alarms)
        uploader = Uploader(spool, hub, options, Backoff(options, np.random.default_rng(0)), alarms)
        for _ in range(4):
            uploader.step()
        assert sound in hub.received
        assert not list(host.spool.glob("*.*"))
        if file.name.endswith(".partial") and damaged in hub.received:
            validate(Episode.open(hub.directory / f"{damaged}.arrow"))
