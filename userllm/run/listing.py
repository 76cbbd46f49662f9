"""``userllm ls``: what there is to choose from, in the words of the YAML files themselves."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from userllm.check import suggest
from userllm.config import config_folders
from userllm.errors import UserError
from userllm.report.terminal import wide_console


def list_options(group: str | None) -> None:
    """Print every group with its options, or the options of one group with what they are for.

    Raises:
        UserError: There is no such group.
    """
    groups = find_options()
    if group is not None and group not in groups:
        raise UserError(f"{group!r} is no group; {suggest(group, groups)}")
    if group == "study":
        # Costs need the models' shapes, and so PyTorch: nothing else that is listed does.
        from userllm.run.studies import study_table

        wide_console().print(study_table(groups[group]))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("group" if group is None else "choice", style="bold", no_wrap=True)
    table.add_column("options" if group is None else "what it is")
    for name, options in sorted(groups.items()):
        if group is None:
            table.add_row(name, ", ".join(sorted(options)))
        elif name == group:
            for option, path in sorted(options.items()):
                table.add_row(f"{name}={option}", escape(first_comment(path)))
    Console().print(table)


def study_verb(words: Sequence[str]) -> str:
    """Return the verb that the study among a command's words sweeps.

    Raises:
        UserError: No study is named, or none of that name exists.
    """
    from userllm.run.studies import verb_of

    named = [word.partition("=")[2] for word in words if word.startswith("study=")]
    studies = find_options().get("study", {})
    if not named:
        raise UserError(
            "sweep needs a study: userllm sweep study=<name>; userllm ls study lists them. A grid "
            "of your own is typed as userllm <verb> -m key=value,value"
        )
    if named[-1] not in studies:
        raise UserError(f"study={named[-1]}: no such study; {suggest(named[-1], studies)}")
    return verb_of(studies[named[-1]])


def find_options() -> dict[str, dict[str, Path]]:
    """Return group to option to file, over conf/ and the user's own folders."""
    groups: dict[str, dict[str, Path]] = {}
    for folder in reversed(config_folders()):
        for path in folder.glob("*/**/*.yaml"):
            relative = path.relative_to(folder)
            groups.setdefault(relative.parent.as_posix(), {})[path.stem] = path
    return groups


def first_comment(path: Path) -> str:
    """Return the first line that a person wrote about a YAML file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith(("# @", "# userllm ")):
            return line.removeprefix("# ")
    return ""
