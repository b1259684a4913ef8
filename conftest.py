"""Without the extra 'fleet' its rooms cannot be imported, and so not be looked through for doctests."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pyspark") and find_spec("confluent_kafka") else ["anomaly/fleet/*.py"]
