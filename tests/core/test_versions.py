"""What runs can be told, also between two versions."""

from fleetloop import __version__
from fleetloop.core import versions as told


def test_other_code_has_another_digest_and_the_same_code_the_same(tmp_path, monkeypatch):
    def digest(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        told.code_digest.cache_clear()
        return told.code_digest()

    monkeypatch.setattr(told, "PACKAGE", tmp_path)
    first = digest(one="a = 1", two="b = 2")
    assert digest(one="a = 1") == first
    assert digest(one="a = 2") != first
    assert digest(one="a = 1", three="") != first
    told.code_digest.cache_clear()


def test_packages_that_bring_plug_ins_are_named():
    told.versions.cache_clear()
    assert told.versions()["fleetloop"] == __version__
    assert len(told.versions()["code"]) == 8
