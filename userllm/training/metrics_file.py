"""metrics.csv: what was measured at which step, without a gap or a repeat after a resume.

Lightning's own CSV logger deletes the file when a run continues, hence this one.
"""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

COLUMNS = ("step", "metric", "value")


class MetricsFile:
    """Appends one line per metric; lines that long need no header that knows all names.

    Args:
        path: The file; what is already there is kept up to ``resumed_from``.
        resumed_from: Optimiser steps of the checkpoint the run continues from. What was logged
            after it will be logged again.
    """

    def __init__(self, path: Path, *, resumed_from: int) -> None:
        self.path = path
        self.resumed_from = resumed_from

    def begin(self) -> None:
        """Keep what was logged up to the checkpoint; of several processes only one may."""
        last = self.resumed_from
        kept = [row for row in read_rows(self.path) if int(row[0]) <= last] if last else []
        fresh = self.path.with_suffix(".tmp")
        with fresh.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *kept])
        os.replace(fresh, self.path)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values of one step and hand them to the operating system at once."""
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([step, name, value] for name, value in values.items())


def read_rows(path: Path) -> list[list[str]]:
    """Return the lines (step, metric, value) of a file, none where there is no file.

    A line cut off by a crash was written after the checkpoint, so it can go.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.reader(file) if len(row) == 3 and row[0].isdigit()]
