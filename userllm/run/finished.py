"""Open a finished contextualize run again, with the weights that it learned."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from userllm.errors import UserError
from userllm.report.results import weights_of
from userllm.run.assembly import Assembly, assemble, method_of
from userllm.run.costing import Trained
from userllm.run.folder import RunFolder, read_result
from userllm.run.reference import resolve
from userllm.schema import ADDED_KEYS
from userllm.training.weights import check_weights, read_weights

LANGUAGE_MODEL = "language_model.json"
"""File of a run that says which weights it is trained on."""


@dataclass(frozen=True)
class Finished:
    """A run as it was when it ended.

    Attributes:
        folder: Where it lies.
        config: Its config, with what the new command says about evaluation and cost.
        method: Its context, the name in tables.
        result: Its ``result.json``.
    """

    folder: Path
    config: DictConfig
    assembly: Assembly
    trained: Trained
    method: str
    result: dict[str, Any]


def reopen(cfg: DictConfig) -> Finished:
    """Build the model of ``cfg.run`` and load its trained weights.

    Raises:
        UserError: The corpus is another one than the run was trained on, or weights do not fit.
    """
    folder = resolve(cfg.run, Path(cfg.paths.runs), "contextualize")
    result = read_result(folder)
    config = OmegaConf.merge(ADDED_KEYS, OmegaConf.load(folder / "config.yaml"))
    assert isinstance(config, DictConfig)
    for key in ("evaluation", "cost", "paths", "threads", "pack_weights"):
        if cfg.get(key) is not None:
            config[key] = cfg[key]
    choices = result["run"]["choices"]
    assembly = assemble(config, choices)
    _same_corpus(assembly, result, folder)
    refuse_other_weights(assembly, result["environment"], folder)
    cost = next(o["cost"] for o in result["outcomes"] if o["kind"] == "model")
    trained = Trained(
        steps=cost["training_steps"],
        examples=cost["training_examples"],
        seconds=cost["training_seconds"],
        flops=cost["training_flops"],
    )
    if trained.steps:
        _load_weights(assembly, folder)
    return Finished(folder, config, assembly, trained, method_of(choices), result)


def _same_corpus(assembly: Assembly, result: dict[str, Any], folder: Path) -> None:
    was = result["environment"]["data_fingerprint"]
    if assembly.corpus.fingerprint != was:
        raise UserError(
            f"{folder.name} was trained on the corpus {was[:12]}, but "
            f"{assembly.corpus.folder} is {assembly.corpus.fingerprint[:12]}. Expected the same "
            "data; prepare it again from the same files, or train again."
        )


def refuse_other_weights(assembly: Assembly, environment: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run on another language model than it was begun with.

    Args:
        assembly: The run as it would go on, with the language model loaded.
        environment: What the run says of itself.
        folder: The run's.

    Raises:
        UserError: Origin or revision are others; says both.
    """
    was, now = weights_of(environment), weights_of({"lm_source": assembly.loaded.source})
    if was is not None and was != now:
        raise UserError(
            f"{folder.name} was begun with language model weights of: {was}. Here they would be "
            f"of: {now}. Expected the same. Weights of SmolLM2 come from the hub where it can be "
            "reached, with HF_HUB_OFFLINE=1 from the package; or run the command again in a new "
            "folder: name=<another>"
        )


def pin_weights(assembly: Assembly, folder: RunFolder) -> None:
    """Note which language model a run begins with, and let nobody continue it on another.

    Raises:
        UserError: There are checkpoints of a training on another one.
    """
    file = folder.path / LANGUAGE_MODEL
    if file.is_file() and any(folder.path.glob("checkpoints/*.ckpt")):
        refuse_other_weights(assembly, json.loads(file.read_text(encoding="utf-8")), folder.path)
    folder.write_json(LANGUAGE_MODEL, {"lm_source": assembly.loaded.source})


def _load_weights(assembly: Assembly, folder: Path) -> None:
    """Put the trained weights into the model; everything else is as it was loaded."""
    learned = read_weights(folder / "checkpoints" / "last.ckpt", "model")
    named = assembly.model.named_parameters()
    expected: dict[str, Tensor] = {name: p for name, p in named if p.requires_grad}
    check_weights(expected, learned)
    assembly.model.load_state_dict(learned, strict=False)
