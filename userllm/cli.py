"""The ``userllm`` command: ``userllm <verb> key=value …``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# These are read when PyTorch and the tokenizers are imported, so they come before any import.
# Waiting OpenMP threads sleep: spinning ones starve a second process on the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from userllm import __version__
from userllm.errors import UserError

BAD_INPUT = 2

VERBS = {
    "prepare": "turn a raw dataset into a corpus",
    "pretrain": "train a user encoder on a corpus",
    "contextualize": "teach a language model to read users, and measure it",
    "evaluate": "score a finished run again",
    "benchmark": "what answers cost: methods in turns, or LMs without weights (--meta)",
    "compare": "turn runs, patterns or a study into tables, figures and a page",
}
TOOLS = {
    "sweep study=<name>": "run what is left of a study",
    "status [study]": "how far a study or any runs are; --watch to keep looking",
    "ls [group]": "what there is to choose from",
    "check <verb> …": "say everything that is wrong with a config, without running it",
    "show <run> [user]": "one user: history, question, every method's answer, the truth",
    "wandb sync|dashboard …": "send offline W&B runs; build a study's workspace and report",
    "doctor": "versions, hardware, caches, what can be reached",
}
EPILOG = """
A run writes one folder below runs/. The same command again finds it: a finished run is left
alone, an interrupted one continues, a failed one is tried again.

  userllm contextualize context=text_prompt task=next_item
  userllm contextualize -m context=none,cross_attention seed=0,1
  userllm sweep study=demo --dry-run
  userllm compare runs

userllm <verb> --help prints the verb's keys.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for a crash, 2 for bad input, 130 and 143 for a signal."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    parser = _parser()
    options = parser.parse_intermixed_args(words)
    for folder in options.config_dir:
        _add_config_folder(folder)
    command, rest = options.command, options.words
    if options.meta:
        if "benchmark" not in (command, *rest[:1]):
            raise UserError("--meta goes with benchmark: userllm benchmark --meta")
        rest = [*rest, "meta=true"]
    if command == "sweep" and not options.help:
        from userllm.run.listing import study_verb

        command, options.multirun = study_verb(rest), True
    if command in VERBS:
        return _print_keys(command) if options.help else _run(command, rest, options)
    if options.help or command is None:
        parser.print_help()
        return 0
    if options.dry_run:
        raise UserError("--dry-run goes with a verb or with sweep: userllm sweep study=… --dry-run")
    return _tool(command, rest, options)


def _tool(command: str, words: list[str], options: argparse.Namespace) -> int:
    if command == "status":
        from userllm.run.status import status

        status(words, watch=options.watch)
    elif command == "ls":
        from userllm.run.listing import list_options

        list_options(words[0] if words else None)
    elif command == "check":
        _check(words, options.multirun)
    elif command == "show":
        from userllm.run.reference import resolve
        from userllm.run.show import show

        if not words:
            raise UserError("show needs a run: userllm show <run> [user]")
        runs, user = Path("runs"), words[1] if len(words) > 1 else None
        show(resolve(words[0], runs), user)
    elif command == "wandb":
        from userllm.run.wandb_tool import wandb_tool

        wandb_tool(words)
    elif command == "doctor":
        from userllm.run.doctor import examine

        examine()
    else:
        from userllm.check import suggest

        names = [*VERBS, *(tool.split()[0] for tool in TOOLS)]
        raise UserError(f"{command!r} is no command; {suggest(command, names)}")
    return 0


def _run(verb: str, words: list[str], options: argparse.Namespace) -> int:
    from userllm.config import Composer, load
    from userllm.run.journal import log_to_screen
    from userllm.run.sweep import sweep, wants_sweep

    log_to_screen()
    overrides = as_overrides(verb, words)
    composer = Composer(verb)
    if options.dry_run:
        from userllm.run.forecast import forecast

        forecast(composer, overrides)
        return 0
    if options.multirun or wants_sweep(composer, overrides):
        return sweep(composer, overrides)
    from userllm.run.launch import execute

    loaded = load(verb, overrides)
    outcome = execute(verb, loaded.config, loaded.choices, overrides)
    if outcome.state == "interrupted":
        print("interrupted; run the same command again to continue", file=sys.stderr)
    elif outcome.error:
        print(f"error: {outcome.error}", file=sys.stderr)
        if outcome.folder:
            print(f"see {Path(outcome.folder) / 'log.txt'}", file=sys.stderr)
    return outcome.exit_code


def _check(words: list[str], multirun: bool) -> None:
    """Print the config that a verb would run with, or every cell of a sweep."""
    from omegaconf import OmegaConf

    from userllm.config import Composer, load
    from userllm.run.folder import RunFolder
    from userllm.run.sweep import plan, wants_sweep

    if not words:
        raise UserError("check needs a verb: userllm check <verb> key=value …")
    verb, overrides = words[0], as_overrides(words[0], words[1:])
    composer = Composer(verb)
    if multirun or wants_sweep(composer, overrides):
        cells = plan(composer, overrides)
        print("\n".join(" ".join(cell) for cell in cells))
        print(f"# {len(cells)} runs, no problem found")
        return
    loaded = load(verb, overrides)
    folder = RunFolder(verb=verb, config=loaded.config, choices=loaded.choices, overrides=overrides)
    print(OmegaConf.to_yaml(OmegaConf.create(folder.redactor.tree(folder.config))), end="")
    print(f"# no problem found; the run is {folder.path} ({folder.state})")


def as_overrides(verb: str, words: Sequence[str]) -> list[str]:
    """Return what was typed as overrides; words without ``=`` after ``compare`` are runs."""
    plain = [word for word in words if "=" not in word and not word.startswith("~")]
    if plain and verb == "compare":
        quoted = ",".join("'" + word.replace("'", "\\'") + "'" for word in plain)
        return [f"runs=[{quoted}]", *(word for word in words if word not in plain)]
    return list(words)


def _add_config_folder(folder: str) -> None:
    # An environment variable, because the worker processes of a sweep need it too.
    from userllm.config import EXTRA_FOLDERS

    known = [name for name in os.environ.get(EXTRA_FOLDERS, "").split(os.pathsep) if name]
    path = str(Path(folder).absolute())
    os.environ[EXTRA_FOLDERS] = os.pathsep.join(dict.fromkeys([path, *known]))


def _print_keys(verb: str) -> int:
    from userllm.config import conf_dir

    print((conf_dir() / f"{verb}.yaml").read_text(encoding="utf-8"), end="")
    print("\n# userllm ls <group> prints the options of a group, such as data=…")
    return 0


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<18} {text}" for name, text in {**VERBS, **TOOLS}.items())
    parser = argparse.ArgumentParser(
        "userllm",
        usage="userllm <command> [key=value …] [-m] [--dry-run] [--config-dir FOLDER]",
        description=f"Compare ways of giving a language model a user's history.\n\n{commands}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="run every combination of values: a=1,2 b=3,4"
    )
    parser.add_argument(
        "--config-dir",
        action="append",
        default=[],
        metavar="FOLDER",
        help="your own options, in folders like those of conf/",
    )
    parser.add_argument(
        "--meta", action="store_true", help="benchmark language models without their weights"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would run, how far it is, what it costs"
    )
    parser.add_argument("--watch", action="store_true", help="status: look until all is finished")
    parser.add_argument("-h", "--help", action="store_true", help="print this, or a verb's keys")
    parser.add_argument("--version", action="version", version=f"userllm {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
