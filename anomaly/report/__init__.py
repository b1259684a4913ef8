"""A log, scored anew, as one page for people: an HTML file that needs nothing else."""
