"""``userllm ls study``: what each study asks, how many runs it is, and what they will cost.

Costs are closed forms over the runs' configs. They are kept in the cache folder, because composing
hundreds of configs takes a minute and changes only with the configs.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

import userllm
from userllm.config import Composer, config_folders
from userllm.data.download import cache_dir
from userllm.errors import UserError
from userllm.report import units
from userllm.run.folder import write_text
from userllm.run.listing import first_comment
from userllm.schema import VERBS

H100 = 989e12
"""Peak of one H100 in bf16, FLOPs a second, without sparsity."""
H100_SHARE = 0.35
"""Share of the peak that training reaches."""
CPU_SHARE = 0.5
"""Share of this machine's rate for large products; SmolLM2-135M reached 0.5 to 0.6."""
SECONDS_PER_RUN = 10.0
"""What a run takes besides its FLOPs: loading, the measurement of latency, writing."""
PRODUCT = 1024
FULL_SIZE = "paper"
SEARCH = "override /hydra/sweeper: search"
"""What the file of a search says."""


@dataclass(frozen=True)
class Bill:
    """A study's cost at one size.

    Attributes:
        runs: Number of runs.
        training: FLOPs of training, the pretraining of shared encoders counted once.
        evaluation: FLOPs of answering the test questions.
        rough: How many runs could only be told by 6ND.
    """

    runs: int
    training: float
    evaluation: float
    rough: int

    @property
    def flops(self) -> float:
        """All FLOPs."""
        return self.training + self.evaluation


def study_table(files: dict[str, Path]) -> Table:
    """Return one row per study.

    Args:
        files: Study to its file.
    """
    rate = cpu_rate()
    table = Table(
        title="userllm <verb> study=<name>, then userllm compare <name>",
        caption=(
            f"FLOPs in closed form: training + evaluation. Here: {units.flops(rate)}/s measured, "
            f"{CPU_SHARE:.0%} of it used, {SECONDS_PER_RUN:.0f} s a run besides. One H100: "
            f"{H100_SHARE:.0%} of {units.flops(H100)}/s. ~: some runs as 6ND."
        ),
    )
    for name in ("study", "what it answers"):
        table.add_column(name, no_wrap=name == "study")
    for name in ("runs", "FLOPs", "here", f"size={FULL_SIZE}", "one H100"):
        table.add_column(name, justify="right")
    fingerprint = _fingerprint()
    for study, file in sorted(files.items()):
        told = _kept(study, file, fingerprint)
        table.add_row(study, escape(first_comment(file)), *_cells(told, rate, _over(study, file)))
    return table


def verb_of(file: Path) -> str:
    """Return the verb that a study sweeps, as its first command names it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    command = next((line.split() for line in lines if line.startswith("# userllm ")), [])
    if len(command) < 3 or command[2] not in VERBS:
        raise UserError(
            f"{file}: expected a comment line that says what the study sweeps, such as "
            f"# userllm contextualize study={file.stem}; found {' '.join(command) or 'none'}"
        )
    return command[2]


def cpu_rate() -> float:
    """Return this machine's rate for large products in float32, FLOPs a second."""
    one = np.ones((PRODUCT, PRODUCT), dtype=np.float32)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        one @ one
        times.append(time.perf_counter() - began)
    return float(2 * PRODUCT**3 / min(times))


def seconds_here(bill: Bill, rate: float) -> float:
    """Return how long a bill's runs take on this machine's CPU, one after the other.

    Args:
        bill: What they cost.
        rate: FLOPs a second for large products.
    """
    return bill.flops / (rate * CPU_SHARE) + SECONDS_PER_RUN * bill.runs


def seconds_on_h100(bill: Bill) -> float:
    """Return how long a bill's FLOPs take on one H100."""
    return bill.flops / (H100 * H100_SHARE)


def written(bill: Bill) -> str:
    """Return a bill's FLOPs, training and evaluation apart; ~ where some are only 6ND."""
    rough = "~" if bill.rough else ""
    return f"{rough}{units.flops(bill.training)} + {units.flops(bill.evaluation)}"


def _kept(study: str, file: Path, fingerprint: str) -> tuple[Bill, Bill]:
    """Return bills from the cache folder, writing them there first where they are new."""
    key = hashlib.sha256(f"{study} {fingerprint}".encode()).hexdigest()[:16]
    place = cache_dir(None) / "estimates" / f"{key}.json"
    if not place.is_file():
        # It imports the models; who only reads what is kept should not wait for that.
        from userllm.run.bills import bills

        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps([asdict(one) for one in bills(study, verb_of(file))]))
    configured, full = json.loads(place.read_text(encoding="utf-8"))
    return Bill(**configured), Bill(**full)


def _fingerprint() -> str:
    """Return a hash of everything an estimate follows from: the configs and the code."""
    code = Path(userllm.__file__).parent.rglob("*.py")
    configs = (path for folder in config_folders() for path in folder.rglob("*.yaml"))
    digest = hashlib.sha256()
    for path in _ordered([*code, *configs]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _ordered(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.as_posix())


def _over(study: str, file: Path) -> str:
    """Return how many trials of a search are over, "" for a grid."""
    # Composing takes a while, and only a study that names another sweeper is a search.
    if SEARCH not in file.read_text(encoding="utf-8"):
        return ""
    from userllm.run.search.overview import overview

    search = overview(Composer(verb_of(file)), [f"study={study}"])
    return f" trials, {sum(search.over.values())} over"


def _cells(told: tuple[Bill, Bill], rate: float, over: str) -> list[str]:
    configured, full = told
    runs = f"{configured.runs}{over}"
    if not configured.flops:
        return [runs, "none", "minutes", "none", "–"]
    return [
        runs,
        written(configured),
        units.duration(seconds_here(configured, rate)),
        written(full),
        units.duration(seconds_on_h100(full)),
    ]
