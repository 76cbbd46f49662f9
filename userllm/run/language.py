"""What tuning does to the language model itself: measured before it and after it."""

from omegaconf import DictConfig

from userllm.retention.measure import LanguageScores, score_language
from userllm.run.assembly import Assembly
from userllm.run.launch import is_helper
from userllm.run.scoring import model_device
from userllm.tuning.parts import parts_of


def language_scores(cfg: DictConfig, assembly: Assembly) -> LanguageScores | None:
    """Return how well the bare language model reads and answers; None where nobody asks.

    With ``evaluation.retention=null`` it is asked where weights of the language model learn:
    frozen ones stay what they were, and the check would only cost time.
    """
    if not _asked(cfg, assembly) or is_helper():
        return None
    model = assembly.model.to(model_device())
    model.context.bind(None)
    return score_language(model.lm, assembly.loaded.tokenizer)


def _asked(cfg: DictConfig, assembly: Assembly) -> bool:
    if cfg.evaluation.retention is not None:
        return bool(cfg.evaluation.retention)
    parts = parts_of(assembly.model)
    return any(p.requires_grad for part in ("lm", "lora") for p in parts[part])
