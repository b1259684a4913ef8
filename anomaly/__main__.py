"""``python -m anomaly``."""

from anomaly.cli import main

main(prog_name="anomaly")
