"""Read single words of the command line: ``key=value``, in Hydra's grammar."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException


def parse(text: str) -> Override | None:
    """Return an override, or None when it is not one."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def is_sweep(text: str) -> bool:
    """Return whether it gives a key several values."""
    override = parse(text)
    return override is not None and override.is_sweep_override()


def is_hydra(text: str) -> bool:
    """Return whether it sets something of Hydra's own."""
    return text.lstrip("+~").startswith("hydra")


def unreadable(text: str) -> str:
    """Say what is wrong with something that is no override."""
    key, is_override, _ = text.partition("=")
    if not is_override:
        return f"{text!r}: not an override; type key=value"
    return f"{text!r}: cannot be read; quote the value twice, as in {key}=\"'…'\""


def several_values(text: str) -> str:
    """Say what is wrong with several values where one run is asked for."""
    key, _, values = text.partition("=")
    return f"{text!r}: several values are a sweep, add -m; a list is written {key}=[{values}]"
