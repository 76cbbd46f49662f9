"""Measure an answer with user vectors against the history as text, by ``userllm benchmark``.

SmolLM2-135M is asked for the favorite genre of MovieLens-100K users; how cost grows up to a
thousand events, with --growth, is measured on simulated ones. The text has title, genres and
rating of every event. "plain" reads vectors in all blocks and keeps nothing from one question to
the next; "fast" reads them in the top 5 blocks, so that what is below them is read once for all
users, and keeps each user's keys and values.

Usage: python experiments/speed/contexts.py [--out FILE] [--threads N] [--growth 1] [--small 1]
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import record

REAL = "data=movielens_100k"
# Nobody in MovieLens-100K has a thousand events.
LONG_LIVED = "data=synthetic data.users=40 data.items=5000 data.events_per_user=2000"
SHARED = "size=small task=favorite_category encoder.checkpoint=null"
TEXT = "context=text_prompt"
PLAIN = "context=cross_attention training.reuse_text=false"
FAST = "context=cross_attention context.layers=5"
LATENTS = f"{FAST} context.perceiver_latents=16"
FULL, TRY = (
    ["seconds=4", "cost.warmup=1"],
    ["cost.repeats=1", "cost.warmup=0", "batch=1", "seconds=5"],
)
HISTORIES, LONG = (50, 100, 200), (50, 1000)
# A few percent are looked for, so it takes more repeats.
MANY = ["seconds=8", "cost.warmup=1", "cost.repeats=60"]
BARS = {
    # Way and figure to the least ratio to the text prompt at each length of history.
    ("plain", "flops_prefill"): (40, 90, 200),
    ("plain", "prefill"): (9, 17, 45),
    ("fast", "flops_prefill"): (130, 300, 750),
    ("fast", "prefill"): (30, 50, 125),
    ("fast", "answer"): (None, None, 60),
    ("fast", "users_per_second_prefill"): (60, 120, 300),
}
FIGURES = {
    "flops_prefill": "FLOPs up to the first logits",
    "prefill": "latency up to the first logits",
    "answer": "latency of 6 tokens",
    "users_per_second_prefill": "users/s in batches of 16",
}
PAPER = (21.9, 42.2, 78.1)
"""The paper's ratios, which are of prompt tokens (Table 4)."""
MOST_GROWTH = 1.1

Cost = dict[str, Any]


def main() -> None:
    """Run the benchmark against text, or for a long history, and write the rows."""
    options = record.arguments(__doc__, growth=0, small=0)
    # A tiny model reads bytes, so that its texts are long: one try says that the script works.
    lm = "lm=tiny lm.layers=6" if options.small else "lm=smollm2_135m"
    full = MANY if options.growth else FULL
    more = [f"threads={options.threads}", *(TRY if options.small else full)]
    rows: list[record.Row] = []
    if options.growth:
        lengths = (10, 20) if options.small else LONG
        costs = benchmark([FAST, LATENTS], f"{LONG_LIVED} {lm}", lengths, more)
        for method, kind in ((FAST, "all vectors"), (LATENTS, "16 latents")):
            rows += growth_rows(costs, method, kind, lengths)
    else:
        histories = HISTORIES[:1] if options.small else HISTORIES
        costs = benchmark([TEXT, PLAIN, FAST], f"{REAL} {lm}", histories, more)
        rows += ratio_rows(costs, histories)
    threads = {"threads": options.threads}
    what = "stored memory of long histories" if options.growth else "user vectors against text"
    record.write(options.out, what, [{**row, **threads} for row in rows])


def benchmark(
    methods: Sequence[str], models: str, histories: Sequence[int], more: Sequence[str]
) -> list[Cost]:
    """Return the rows of ``userllm benchmark``."""
    quoted = ",".join(f"'{method}'" for method in methods)
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as runs:
        words = [
            f"methods=[{quoted}]",
            f"shared='{SHARED} {models}'",
            f"histories=[{','.join(map(str, histories))}]",
            *more,
            f"paths.runs={runs}",
        ]
        command = [sys.executable, "-m", "userllm.cli", "benchmark", *words]
        subprocess.run(command, check=True)
        (result,) = Path(runs).glob("benchmark/*/result.json")
        found: list[Cost] = json.loads(result.read_text(encoding="utf-8"))["costs"]
    return found


def ratio_rows(costs: Sequence[Cost], histories: Sequence[int]) -> Iterator[record.Row]:
    """Yield every ratio that has a bar, and those of tokens beside the paper's."""
    for at, history in enumerate(histories):
        mine = {
            "plain": pick(costs, PLAIN, history, "nothing"),
            "fast": pick(costs, FAST, history, "keys and values"),
        }
        text = pick(costs, TEXT, history, "nothing")
        ratio = text["prompt_tokens"] / mine["plain"]["prompt_tokens"]
        name = f"prompt tokens, H={history}"
        yield record.row(f"{name} (the paper: {PAPER[at]})", ratio, "x")
        for (way, figure), bars in BARS.items():
            yield record.row(
                f"{way}: {FIGURES[figure]}, H={history}",
                mine[way]["ratios"][figure],
                "x",
                at_least=bars[at],
                **timing(mine[way], figure),
            )


def growth_rows(
    costs: Sequence[Cost], method: str, kind: str, histories: Sequence[int]
) -> Iterator[record.Row]:
    """Yield what a question about a long history costs over one about a short, memory stored."""
    short, long = (pick(costs, method, history, "keys and values") for history in histories)
    name = f"stored memory ({kind}), H={histories[1]} over H={histories[0]}"
    times = [cost["latency_ms"]["answer"]["p50"] for cost in (long, short)]
    taken = timing(long, "answer")
    yield record.row(
        f"{name}: FLOPs", long["flops_answer"] / short["flops_answer"], "x", at_most=MOST_GROWTH
    )
    yield record.row(f"{name}: latency", times[0] / times[1], "x", at_most=MOST_GROWTH, **taken)


def pick(costs: Sequence[Cost], method: str, history: int, kept: str) -> Cost:
    """Return the row of a method at one length of history with one thing stored."""
    words = set(method.split())
    found = [
        cost
        for cost in costs
        if cost["history"] == history and cost["kept"] == kept and words <= set(cost["overrides"])
    ]
    # Another method may say the same and more.
    return min(found, key=lambda cost: len(cost["overrides"]))


def timing(cost: Cost, figure: str) -> dict[str, Any]:
    """Return how the times of a figure were taken; nothing for closed forms."""
    many = figure.startswith("users_per_second_")
    times: dict[str, dict[str, Any]] = cost["batch_ms" if many else "latency_ms"]
    taken = times.get(figure.removeprefix("users_per_second_"))
    return {} if taken is None else {"n": taken["repeats"], "busy_share": taken["other_cpu"]}


if __name__ == "__main__":
    main()
