"""What is the matter with a machine that anomaly watches, or should: checks, each with its remedy."""
