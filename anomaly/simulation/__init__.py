"""Simulates the results log of a host with three users and two intrusions, for samples, tests and benchmarks."""

from anomaly.simulation.simulator import Simulation, simulate, write

__all__ = ["Simulation", "simulate", "write"]
