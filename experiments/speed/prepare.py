"""Measure ``userllm prepare`` on 20 million simulated events in the ml-20m CSV format.

Usage: OMP_NUM_THREADS=2 POLARS_MAX_THREADS=2 python experiments/speed/prepare.py [events]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from userllm.data.columns import CATEGORIES, ITEM, RATING, TIMESTAMP, TITLE, USER, YEAR
from userllm.data.corpus import Corpus
from userllm.data.synthetic import Synthetic

EVENTS = 20_000_000
MOST_SECONDS = 90
MOST_GIBIBYTES = 4.0


def main() -> None:
    """Generate, prepare, report; exit with 1 when a bar is missed."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        data = Path(temporary, "ml-20m")
        data.mkdir()
        started = time.perf_counter()
        generate(data, events)
        print(f"generated {events:,} events in {time.perf_counter() - started:.1f} s")
        seconds, gibibytes = prepare(data, Path(temporary, "runs"))
    threads = os.environ.get("POLARS_MAX_THREADS", os.cpu_count())
    print(
        f"prepared {events:,} events in {seconds:.1f} s (at most {MOST_SECONDS}), peak memory "
        f"{gibibytes:.2f} GiB (at most {MOST_GIBIBYTES}), {threads} threads"
    )
    sys.exit(seconds > MOST_SECONDS or gibibytes > MOST_GIBIBYTES)


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
