"""Which weights learn."""
