"""``userllm prepare``: turn a dataset into a corpus with splits and a data card."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from userllm.build import build
from userllm.data.card import card_sections, paper_tables
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.paper_counts import rule_in_words
from userllm.data.protocol import Dataset, RawData
from userllm.run.folder import RunFolder
from userllm.run.sources import note_sources


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Read ``cfg.data`` and write ``<folder>/corpus``; print the card and the paper's Table 1."""
    dataset: Dataset = build(cfg.data)
    write_corpus(
        _read(dataset, folder),
        name=dataset.name,
        min_user_events=dataset.min_user_events,
        min_item_events=dataset.min_item_events,
        folder=folder.path / "corpus",
    )
    corpus = Corpus.open(folder.path / "corpus")
    console = Console()
    console.print(card_table(corpus))
    for title, header, rows in paper_tables(corpus.card):
        console.print(plain_table(title, header, rows))
    console.print(rule_in_words(corpus.card["paper_counts"]), markup=False, highlight=False)
    environment = {"data_fingerprint": corpus.fingerprint, "data_name": dataset.name}
    folder.write_result({"outcomes": [], "examples": [], "environment": environment})


def _read(dataset: Dataset, folder: RunFolder) -> RawData:
    raw = dataset.read()
    note_sources(raw, folder.path)
    return raw


def card_table(corpus: Corpus) -> Table:
    """Return the data card as a table for the terminal."""
    table = Table(title=f"Data card: {corpus.card['name']}", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, rows in card_sections(corpus.card):
        table.add_section()
        table.add_row(title, style="cyan")
        for key, value in rows:
            table.add_row(key, value)
    return table


def plain_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return rows of text for the terminal: what is counted on the left, numbers on the right."""
    table = Table(title=title)
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    return table
