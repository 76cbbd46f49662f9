import platform

import pytest

from userllm.run import manifest

CPUINFO = """\
processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: Some Maker
stepping\t: {stepping}

processor\t: 1
model name\t: Another
stepping\t: 9
"""


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(manifest, "CPUINFO", file)
    return file


def test_processors_of_one_name_are_told_apart(cpuinfo):
    kinds = set()
    for stepping in (0, 1):
        cpuinfo.write_text(CPUINFO.format(stepping=stepping))
        assert manifest.cpu_model() == "Some Maker"
        kinds.add(manifest.cpu_kind())
    assert kinds == {"family 25, model 17, stepping 0", "family 25, model 17, stepping 1"}


def test_a_system_that_does_not_tell_has_a_name_and_no_kind(cpuinfo):
    assert manifest.cpu_model() == (platform.processor() or platform.machine())
    assert manifest.cpu_kind() is None
