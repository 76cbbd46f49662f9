"""What an answer costs: FLOPs in closed form, latency, memory."""
