"""The same core on Apache Spark, for the logs of many hosts; an extra of its own (``fleet``)."""
