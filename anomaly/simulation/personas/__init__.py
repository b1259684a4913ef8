"""The three people of the host, as plain data."""

from anomaly.simulation.personas.alice import ALICE
from anomaly.simulation.personas.bob import BOB
from anomaly.simulation.personas.carol import CAROL

__all__ = ["ALICE", "BOB", "CAROL"]
