"""``debug=profile``: where the time of training steps goes, in the run's folder.

Lightning says when its loop does what; its own profilers tell neither an encoder from a language
model nor a part from what runs inside it, so their table adds up to more than the time there was.
Steps with PyTorch's profiler come after the timed ones, because it slows them down.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import Profiler
from torch.profiler import ProfilerActivity, profile

from userllm.training.profile_page import page
from userllm.training.stopwatch import Stopwatch, timed

log = logging.getLogger(__name__)

OPTION, NAME = "profiler", "parts"
"""Key of the trainer's options, which is no part of what a run is, and what stands there for us."""

TRACE, PAGE = "profile.json.gz", "profile.md"

PARTS = {
    "encoder": "encoder",
    "encoder.heads": "softmax, heads",
    "model.encoder": "encoder",
    "model.memory": "context",
    "model.context": "context",
    "model.lm": "language model",
    "model.lm.lm_head": "softmax, heads",
    "model.item_head": "softmax, heads",
}
"""Where models of ours keep their parts."""

ACTIONS = {
    "dataloader_next": "data",
    "batch_to_device": "data",
    "training_step": "loss",
    "backward": "backward",
    "optimizer_step": "optimizer",
    "optimizer_zero_grad": "optimizer",
    "gradient_clipping": "optimizer",
    "lr_scheduler_step": "optimizer",
    "TrainingRecord": "logging, validation",
    "Checkpoints": "saving",
}
"""What Lightning calls what it does, in part, to the part it belongs to."""

LOOP = "training loop"
"""All else that it does."""

WARMUP, STEPS, TRACED = 5, 20, 3
"""Steps before the clock starts, steps that are timed, steps after them that are recorded."""


class StepProfile(Profiler):
    """Times the parts of some steps, then records the operators of some more.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._watch = Stopwatch(torch.device("cpu"))
        self._operators: profile | None = None
        self._timed: tuple[int, dict[str, float]] = (0, {})
        self._batches, self._passes, self._recorded = 0, 1, 0
        self._bounds = 0, 0, 0

    @contextmanager
    def attached(self, trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
        """Watch a training, and write the profile when it ends well; the first process does."""
        self._passes = trainer.accumulate_grad_batches
        self._watch = Stopwatch(trainer.strategy.root_device)
        self._batches = 0
        self._bounds = plan(trainer.max_steps)
        with timed(self._watch, module, PARTS):
            yield
        if trainer.is_global_zero:
            self._finish()

    def start(self, action_name: str) -> None:
        """Note that Lightning begins to do something."""
        if action_name.endswith("dataloader_next"):
            # A step begins with its data.
            steps, rest = divmod(self._batches, self._passes)
            if rest == 0:
                self._turn(steps)
            self._batches += 1
        self._watch.enter(_part(action_name))

    def stop(self, action_name: str) -> None:
        """Note that it has done it."""
        self._watch.leave()

    def describe(self) -> None:
        """Write nothing here: the profile is written when training has ended."""

    def _turn(self, done: int) -> None:
        """Begin and end what is to be measured once so many steps are done."""
        begin, traced, end = self._bounds
        if done == begin:
            self._watch.restart()
        if done == traced:
            self._timed = (traced - begin, self._watch.read())
            self._operators = profile(activities=_activities(), acc_events=True)
            self._operators.start()
        if done == end and self._operators is not None:
            self._operators.stop()
            self._recorded = end - traced

    def _finish(self) -> None:
        if not self._recorded:
            # The last step that is recorded may be the last of all.
            self._turn(self._bounds[-1])
        if self._operators is None:
            log.warning("too few steps were left for a profile; give the run another name=")
            return
        self._operators.export_chrome_trace(str(self.folder / TRACE))
        text = page(*self._timed, self._operators.key_averages(), self._recorded, TRACE)
        (self.folder / PAGE).write_text(text, encoding="utf-8")
        log.info("where the time goes: %s", self.folder / PAGE)


def plan(total: int) -> tuple[int, int, int]:
    """Return after how many steps timing begins, recording begins, and recording ends.

    A run that is too short for all of them spends a quarter on warm-up and a quarter on recording.

    Args:
        total: Steps of the run.
    """
    quarter = max(1, total // 4)
    begin, recorded = min(WARMUP, quarter), min(TRACED, quarter)
    middle = min(begin + STEPS, total - recorded)
    return begin, middle, middle + recorded


def _part(action: str) -> str:
    """Return the part that an action of Lightning's belongs to."""
    return next((part for name, part in ACTIONS.items() if name in action), LOOP)


def _activities() -> list[ProfilerActivity]:
    gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    return [ProfilerActivity.CPU, *gpu]
