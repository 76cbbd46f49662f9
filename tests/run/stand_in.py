"""`userllm` with a pretrain that needs no model; as a script: python stand_in.py pretrain …"""

import os
import sys
import time
import types


def run(cfg, folder):
    """Note the call; fail for seed 13; wait to be killed where STAND_IN_WAITS is set."""
    with (folder.path / "calls.txt").open("a") as file:
        file.write("called\n")
    if cfg.seed == 13:
        raise RuntimeError("unlucky")
    if os.environ.get("STAND_IN_WAITS"):
        (folder.path / "waiting").touch()
        time.sleep(60)
    folder.write_result({"outcomes": [], "examples": [], "environment": {}})


def module():
    """Return what stands in for userllm.run.pretrain."""
    stand_in = types.ModuleType("userllm.run.pretrain")
    stand_in.run = run
    return stand_in


if __name__ == "__main__":
    sys.modules["userllm.run.pretrain"] = module()
    from userllm.cli import main

    sys.exit(main())
