"""The commands in writing: docs/cli.md and the manual page, made of what the commands say of themselves.

``python -m anomaly.reference`` writes both anew.
"""
