"""What ``anomaly top`` shows: scores as they come, kept, chosen from, worded and drawn."""
