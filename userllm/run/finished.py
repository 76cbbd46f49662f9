"""Open a finished contextualize run again, with the weights that it learned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from userllm.errors import UserError
from userllm.run.assembly import Assembly, assemble, method_of
from userllm.run.base_model import refuse_another
from userllm.run.costing import Trained
from userllm.run.folder import RunFolder, read_result
from userllm.run.made_from import refuse_remade
from userllm.run.reference import resolve
from userllm.schema import ADDED_KEYS
from userllm.training.weights import check_weights, read_weights


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


def same_run(finished: Finished, folder: RunFolder) -> dict[str, Any]:
    """Return what a result in ``folder`` says of its run, so that tables take it for this one.

    They average over seeds, and compare with the run that knows no user.
    """
    trained = finished.result["run"]
    config = OmegaConf.to_container(finished.config, resolve=True)
    return {
        "seed": trained["seed"],
        "choices": trained["choices"],
        "config": folder.redactor.tree(config),
    }


def reopen(cfg: DictConfig) -> Finished:
    """Build the model of ``cfg.run`` and load its trained weights.

    Raises:
        UserError: The corpus or the language model is another one than the run was trained on, or
            weights do not fit.
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
    refuse_remade(folder)
    refuse_another(assembly, result["environment"], folder)
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


def _load_weights(assembly: Assembly, folder: Path) -> None:
    """Put the trained weights into the model; everything else is as it was loaded."""
    learned = read_weights(folder / "checkpoints" / "last.ckpt", "model")
    named = assembly.model.named_parameters()
    expected: dict[str, Tensor] = {name: p for name, p in named if p.requires_grad}
    check_weights(expected, learned)
    assembly.model.load_state_dict(learned, strict=False)
