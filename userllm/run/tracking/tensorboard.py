"""``logger=tensorboard``: event files in the run's folder, through Lightning's logger.

``tensorboard --logdir runs`` shows all runs; a run that continues adds a file to the same curve.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userllm.errors import UserError
from userllm.run.folder import RunFolder
from userllm.run.tracking import artifacts
from userllm.run.tracking.describe import method_name, numbers, study_of

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

NAME = "tensorboard"


class Tensorboard:
    """Event files below ``<run>/tensorboard``.

    Args:
        folder: The run.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, *, folder: RunFolder) -> None:
        from pytorch_lightning.loggers import TensorBoardLogger

        self.folder = folder
        try:
            self.logger = TensorBoardLogger(folder.path / NAME, name="", version="")
        except ModuleNotFoundError:
            raise UserError(
                "logger=tensorboard needs TensorBoard; type pip install 'userllm[tensorboard]'"
            ) from None

    def loggers(self) -> "list[Logger]":
        """Return the logger of training's values."""
        return [self.logger]

    def log_result(self, result: Mapping[str, Any], sources: Sequence[Path]) -> None:
        """Write settings and numbers for the page that compares runs."""
        chosen = {"study": study_of(self.folder), "method": method_name(self.folder.choices)}
        told = {**self.folder.choices, **chosen, "seed": self.folder.config.get("seed")}
        self.logger.log_hyperparams(told, numbers(result))
        for source in sources:
            kind = artifacts.artifact_type(source)
            self.logger.experiment.add_text(f"source/{kind}", source.name)

    def log_report(self, table: Path, figures: Sequence[Path], sources: Sequence[Path]) -> None:
        """Write the table as text and the figures as pictures."""
        import numpy as np
        from PIL import Image

        text = table.with_suffix(".md")
        if text.is_file():
            self.logger.experiment.add_text("comparison", text.read_text(encoding="utf-8"))
        for path in figures:
            with Image.open(path) as picture:
                pixels_HWC = np.asarray(picture.convert("RGB"))
            self.logger.experiment.add_image(f"figure/{path.stem}", pixels_HWC, dataformats="HWC")

    def finish(self, exit_code: int) -> None:
        """Write what is buffered."""
        self.logger.finalize("failed" if exit_code else "success")
        self.logger.experiment.close()
