"""The pack's rows without osquery: what psutil, /proc and /sys tell, as differential lines of a results log.

It stands in for osquery where one wants to try things out, and is no substitute: it polls, and misses what lives
shorter than an interval; it sees what its user may see; and a program that wants to hide from it can.
"""
