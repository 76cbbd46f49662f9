"""Who writes a user's history down in a few sentences."""
