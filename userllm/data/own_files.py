"""Where a person keeps data files, so that readers need neither a folder's name nor a download."""

import os
from pathlib import Path

VARIABLE = "USERLLM_DATA"


def data_folder(option: str) -> Path | None:
    """Return ``$USERLLM_DATA/<option>`` when it is there; the rule when ``data.dir`` is null.

    Args:
        option: The dataset as it is chosen on the command line: ``movielens`` for
            ``data=movielens``.
    """
    home = os.environ.get(VARIABLE)
    folder = Path(home).expanduser() / option if home else None
    return folder if folder is not None and folder.is_dir() else None
