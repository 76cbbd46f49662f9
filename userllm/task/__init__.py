"""What is asked about a user, and how answers are scored."""
