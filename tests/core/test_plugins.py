"""Plug-ins found by name: what is installed, what is broken, and that the one does not harm the other."""

import sys

import pytest

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import ConfigInvalid, PluginBroken, UnknownName
from fleetloop.core.plugins import KINDS, installed, making, plugin, require_installed
from fleetloop.core.robot import RobotKind
from fleetloop.core.task import Site


def install(directory, name, entry_points, version="1.2", **modules):
    """A distribution as pip would leave it, in `directory`."""
    metadata = directory / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    for module, source in modules.items():
        (directory / f"{module}.py").write_text(source)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    plugin.cache_clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_plug_in_is_what_its_entry_point_names(site):
    install(site, "mine", "[fleetloop.judges]\nmine = mine_judge:Mine\n", mine_judge="class Mine: pass\n")
    assert plugin("judges", "mine").__name__ == "Mine"
    row = next(row for row in installed() if row.name == "mine")
    assert (row.kind, row.origin, row.error) == ("judges", "mine 1.2", "")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        UnknownName, match=r"operators: nobody: is not installed; known: keyboard, marks, none, scripted"
    ):
        plugin("operators", "nobody")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_module_anywhere\n", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("raise OSError('no camera\\nfound')\n", "OSError: no camera found"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("", "AttributeError: module 'bad_robot' has no attribute 'Bad'"),
    ],
)
def test_one_that_cannot_be_imported_says_why_and_the_rest_works(site, source, why):
    install(site, "bad", "[fleetloop.robots]\nbad = bad_robot:Bad\n", bad_robot=source)
    with pytest.raises(PluginBroken) as caught:
        plugin("robots", "bad")
    assert f"robots: bad: can't be imported from bad 1.2 ({why}" in str(caught.value)
    assert "\n" not in str(caught.value)
    rows = {(row.kind, row.name): row for row in installed()}
    assert why in rows["robots", "bad"].error
    assert not rows["robots", "sim"].error
    assert {kind for kind, _ in rows} == set(KINDS)


def test_what_breaks_while_it_is_made_is_told_in_a_line(site):
    source = "class Arm:\n    def __init__(self, options, *, clock, site):\n        raise OSError('no\\nbus')\n"
    install(site, "arm", "[fleetloop.robots]\narm = arm_robot:Arm\n", arm_robot=source)
    with pytest.raises(PluginBroken) as caught:
        RobotKind("arm").build(Virtual(), Site("lab"))
    assert str(caught.value) == "robots: arm: can't be made (OSError: no bus); FLEETLOOP_DEBUG=1 shows where"


def test_what_a_plugin_raises_on_purpose_while_it_is_made_is_left_as_it_is():
    with pytest.raises(ConfigInvalid), making("robots", "arm"):
        raise ConfigInvalid("port", "is missing")


def test_one_whose_extra_is_missing_says_what_to_install(site):
    install(site, "arm", "[fleetloop.robots]\narm = arm_robot:Arm [canbus]\n", arm_robot="import no_can_bus\n")
    with pytest.raises(PluginBroken, match=r"pip install 'arm\[canbus\]'"):
        plugin("robots", "arm")


def test_two_packages_that_bring_the_same_name_are_both_named(site):
    for name in ("one", "two"):
        install(site, name, "[fleetloop.judges]\ntwice = some_judge:Judge\n")
    with pytest.raises(PluginBroken, match=r"judges: twice: is brought by one 1.2 and two 1.2; uninstall one"):
        require_installed("judges", "twice")
    assert [row.name for row in installed() if row.name == "twice" and row.error] == ["twice", "twice"]


def test_whether_it_is_installed_is_known_without_importing_it(site):
    install(site, "loud", "[fleetloop.policies]\nloud = loud_policy:Loud\n", loud_policy="raise RuntimeError\n")
    require_installed("policies", "loud")
    assert "loud_policy" not in sys.modules
