"""The README's commands run as they are written there."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- test -->\n+```sh\n(.*?)```", re.DOTALL)
LINKS = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def commands(block):
    return [line.split("#")[0].strip() for line in block.splitlines() if line.strip()]


def run(line, folder):
    """Run one command as a shell would find it once the environment is active."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"$ {line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("block", BLOCK.findall(README), ids=lambda block: block.split("\n")[0])
def test_commands_of_the_readme_work_from_an_empty_folder(block, tmp_path):
    for line in commands(block):
        assert run(line, tmp_path).strip()


def test_the_readme_has_commands_to_test():
    assert len(BLOCK.findall(README)) == 2


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_first_two_commands_are_targets_of_the_makefile(target):
    first = re.search(r"```sh\n(.*?)```", README, re.DOTALL).group(1)
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert f"make {target} " in first
    assert re.search(rf"^{target}: .*## ", makefile, re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(LINKS.findall(README))))
def test_links_of_the_readme_lead_to_files(link):
    assert (Path(__file__).parents[2] / link).exists()
