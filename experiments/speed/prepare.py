"""Measure ``userllm prepare`` on up to 20 million simulated events in the ml-20m CSV format.

Usage: python experiments/speed/prepare.py [--out FILE.json] [--threads N] [--events N]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import record

from userllm.data.columns import CATEGORIES, ITEM, RATING, TIMESTAMP, TITLE, USER, YEAR
from userllm.data.corpus import Corpus
from userllm.data.synthetic import Synthetic

EVENTS, PART = 20_000_000, 20
MOST_SECONDS, MOST_GIBIBYTES = 45, 3.0
MOST_GROWTH = 1.1
"""Seconds per event at full size over those at a twentieth of it."""


def main() -> None:
    """Generate and prepare a twentieth, then all, and write the rows."""
    options = record.arguments(__doc__, events=EVENTS)
    os.environ["POLARS_MAX_THREADS"] = str(options.threads)
    counts = [options.events // PART, options.events]
    measured = [measure(count) for count in counts]
    growth = (measured[1][0] / counts[1]) / (measured[0][0] / counts[0])
    # The bars are meant for the size of ml-20m, which has to be linear in what is below it.
    full = options.events >= EVENTS
    time_bar, memory_bar = (
        {"at_most": bar} if full else {} for bar in (MOST_SECONDS, MOST_GIBIBYTES)
    )
    rows = [
        record.row(f"prepare {counts[0]:,} events", measured[0][0], "s"),
        record.row(f"prepare {counts[1]:,} events", measured[1][0], "s", **time_bar),
        record.row(f"peak memory, {counts[1]:,} events", measured[1][1], "GiB", **memory_bar),
        record.row(f"seconds per event, x{PART}", growth, "x", at_most=MOST_GROWTH),
    ]
    threads = {"threads": options.threads}
    record.write(options.out, "userllm prepare", [{**row, **threads} for row in rows])


def measure(events: int) -> tuple[float, float]:
    """Return the seconds and the peak memory in GiB of preparing so many events."""
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        data = Path(temporary, "ml-20m")
        data.mkdir()
        generate(data, events)
        return prepare(data, Path(temporary, "runs"))


def generate(folder: Path, events: int) -> None:
    """Write ratings.csv and movies.csv with as many users, films and ratings as ml-20m."""
    world = Synthetic(
        name="speed",
        users=200_000,
        items=27_278,
        events_per_user=144,
        categories=19,
        drift=0.01,
        texts=False,
        seed=0,
        min_user_events=1,
        min_item_events=1,
    )
    movies = world.items().select(
        pl.col(ITEM).alias("movieId"),
        (pl.col(TITLE) + " (" + pl.col(YEAR).cast(pl.String) + ")").alias("title"),
        pl.col(CATEGORIES).list.join("|").alias("genres"),
    )
    movies.write_csv(folder / "movies.csv")
    left = events
    with (folder / "ratings.csv").open("wb") as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        for chunk in world.chunks():
            chunk.select(USER, ITEM, RATING, TIMESTAMP).head(left).write_csv(
                file, include_header=False
            )
            left -= min(left, chunk.height)
            if not left:
                return


def prepare(data: Path, runs: Path) -> tuple[float, float]:
    """Return the seconds and the peak memory in GiB of the command in a process of its own."""
    settings = ["data=movielens", f"data.dir={data}", f"paths.runs={runs}"]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "userllm.cli", "prepare", *settings], check=True)
    seconds = time.perf_counter() - started
    # A command that did nothing would be very fast.
    (corpus,) = runs.glob("prepare/*/corpus")
    Corpus.open(corpus)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return seconds, peak / 2**30


if __name__ == "__main__":
    main()
