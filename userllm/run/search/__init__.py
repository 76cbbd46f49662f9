"""Search: trials that optuna chooses and Hydra launches, each an ordinary run."""
