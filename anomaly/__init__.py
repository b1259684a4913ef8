"""Learns how each user of a machine behaves from osquery's results log, and scores every new action."""

__version__ = "0.1.0"
