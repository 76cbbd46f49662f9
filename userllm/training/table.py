"""What learns in a run, and how fast, as a table for the terminal."""

from rich.table import Table

from userllm.training.module import TrainableModule


def parameter_table(module: TrainableModule) -> Table:
    """Return one row per group with its size, learning rate and weight decay, frozen ones last."""
    table = Table(title="Trainable parameters")
    table.add_column("part")
    for title in ("tensors", "parameters", "learning rate", "weight decay"):
        table.add_column(title, justify="right")
    for group in module.groups:
        count = sum(parameter.numel() for parameter in group["params"])
        table.add_row(
            group["name"],
            str(len(group["params"])),
            f"{count:,}",
            f"{group['lr']:g}",
            f"{group['weight_decay']:g}",
        )
    frozen = [p for p in module.parameters() if not p.requires_grad]
    table.add_row("frozen", str(len(frozen)), f"{sum(p.numel() for p in frozen):,}", "–", "–")
    return table
