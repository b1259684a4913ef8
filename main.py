"""The original's command: ``python main.py -a OCSVM -l /var/log/osquery/osqueryd.results.log``.

Learns every user in the log who has no model yet, then scores each new action as osquery writes it. The other
commands are ``anomaly --help``.
"""

from anomaly.cli_predict import run

if __name__ == "__main__":
    run(prog_name="main.py")
