"""What a prepared dataset is and how batches are gathered from it."""
