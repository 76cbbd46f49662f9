"""Which language model a run is trained on: nobody goes on with it on other weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from userllm.errors import UserError
from userllm.report.results import lm_origin
from userllm.run.assembly import Assembly
from userllm.run.folder import RunFolder

FILE = "language_model.json"


def note_base_model(assembly: Assembly, folder: RunFolder) -> None:
    """Write down the language model that a run begins with.

    Raises:
        UserError: There are checkpoints of a training on another one.
    """
    file = folder.path / FILE
    if file.is_file() and any(folder.path.glob("checkpoints/*.ckpt")):
        refuse_another(assembly, json.loads(file.read_text(encoding="utf-8")), folder.path)
    folder.write_json(FILE, {"lm_source": assembly.loaded.source})


def refuse_another(assembly: Assembly, environment: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run on another language model than it was begun with.

    Args:
        assembly: The run as it would go on, with the language model loaded.
        environment: What the run says of itself.
        folder: The run's.

    Raises:
        UserError: Origin or revision are others; says both.
    """
    was, now = lm_origin(environment), lm_origin({"lm_source": assembly.loaded.source})
    if was is not None and was != now:
        raise UserError(
            f"{folder.name} was begun with language model weights of: {was}. Here they would be "
            f"of: {now}. Expected the same. Weights of SmolLM2 come from the hub where it can be "
            "reached, with HF_HUB_OFFLINE=1 from the package; or run the command again in a new "
            "folder: name=<another>"
        )
