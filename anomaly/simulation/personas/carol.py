"""Carol analyses data: extracts from the warehouse, notebooks, spreadsheets, reports by the end of the week."""

from __future__ import annotations

from anomaly.simulation.persona import Hours, Persona, Pool, Task, do
from anomaly.simulation.personas.desktop import JUPYTER, OFFICE, firefox, thunderbird

CAROL = Persona(
    hours=Hours(begin=9.1, finish=17.2, lunch=12.8, jitter=0.3, weekend=0.15),
    pause=46,
    stint=50,
    rest=40,
    first="open",
    projects=(("{home}/analysis/churn", 0.0), ("{home}/analysis/pricing", 0.0), ("{home}/analysis/forecast", 0.5)),
    tasks={
        "open": Task(
            (
                do("cd {project}", "cd {project}", "cd ~/data"),
                do("ls", "ls -lt | head", "ls data"),
                do("git pull", chance=0.15),
                do("source .venv/bin/activate", chance=0.5),
            ),
            then={"inspect": 4, "query": 3, "script": 2, "files": 1},
        ),
        "inspect": Task(
            (
                do("head {csv}", "head -n {n} {csv}", "less {csv}"),
                do("wc -l {csv}", "file {csv}", chance=0.6),
                do("cut -d, -f{n} {csv} | sort | uniq -c | head", "csvstat {csv}", chance=0.4),
                do("grep -c {word} {csv}", chance=0.2),
            ),
            then={"script": 4, "query": 2, "office": 1.5, "inspect": 1, "columns": 1},
            again=0.3,
        ),
        "query": Task(
            (
                do("psql -h db01 warehouse", "psql -h db01 warehouse -f sql/{sql}.sql", "psql -h db02 mart"),
                do("vim sql/{sql}.sql", "nano sql/{sql}.sql", chance=0.45),
                do("psql -h db01 warehouse -f sql/{sql}.sql -o {csv}", chance=0.6),
                do("ls -lh data", "head {csv}", chance=0.5),
            ),
            then={"inspect": 4, "script": 3, "query": 1},
        ),
        "script": Task(
            (
                do("nano {script}", "vim {script}", "python {script}"),
                do("python {script}", "python {script} --input {csv}", "python {script} --year 2026"),
                do("nano {script}", chance=0.35),
                do("python {script}", chance=0.45),
                do("ls out", "ls -t out | head -n {n}", chance=0.5),
            ),
            then={"inspect": 3, "office": 2, "notes": 1, "script": 2, "stats": 1.5, "query": 1, "compute": 0.7},
            again=0.25,
        ),
        "stats": Task(
            (
                do("Rscript {rscript}", "R --no-save", "Rscript {rscript} {csv}"),
                do("nano {rscript}", chance=0.4),
                do("xdg-open out/{figure}.pdf", "ls out", chance=0.5),
            ),
            then={"script": 3, "office": 2, "inspect": 1},
            trend=0.5,
        ),
        "office": Task(
            (
                do("libreoffice --calc {csv}", "libreoffice {report}", "xdg-open {report}"),
                do("cp {report} ~/Documents/{word}-{day}.ods", "cp {csv} ~/shared/", chance=0.4),
            ),
            then={"files": 2, "inspect": 2, "query": 2, "open": 1},
        ),
        "files": Task(
            (
                do("ls ~/Downloads", "ls -l ~/Documents"),
                do("mv ~/Downloads/{download} data/", "unzip ~/Downloads/{word}.zip -d data", chance=0.7),
                do("mkdir -p data/{day}", "rm data/tmp_{word}.csv", "du -sh data", chance=0.4),
            ),
            then={"inspect": 4, "open": 1, "query": 1},
        ),
        "notes": Task(
            (
                do("git status", "git diff", chance=0.5),
                do("git add {script}", "git add .", chance=0.7),
                do("git commit -m '{subject}'"),
                do("git push", chance=0.6),
                do("cat README.md", chance=0.2),
            ),
            then={"open": 2, "query": 2, "files": 1},
        ),
        "compute": Task(
            (
                do("rsync -av data/ hpc01:data/", "scp {script} hpc01:jobs/", chance=0.6),
                do("ssh hpc01", "ssh hpc01 squeue -u carol"),
            ),
            then={"script": 2, "inspect": 2},
        ),
        "columns": Task(
            (
                do("duckdb {word}.duckdb", "duckdb -c 'select count(*) from read_csv_auto({csv})'"),
                do("ls -lh *.duckdb", chance=0.3),
            ),
            then={"inspect": 2, "script": 2, "columns": 1},
            since=0.5,
        ),
    },
    pools={
        "csv": Pool(
            ("data/customers.csv", "data/orders.csv"), "data/{noun}_{noun}_{number}.csv", 0.045, local=True
        ),
        "script": Pool(("clean.py", "features.py", "report.py"), "{verb}_{noun}.py", 0.03, local=True),
        "rscript": Pool(("model.R", "plots.R"), "{noun}.R", 0.04, local=True),
        "sql": Pool(("orders", "customers", "weekly"), "{noun}_{noun}", 0.05),
        "report": Pool(
            ("{home}/Documents/weekly.ods", "{home}/Documents/plan.odt"), "{home}/Documents/{noun}.ods", 0.07
        ),
        "figure": Pool(("summary",), "{noun}", 0.1),
        "download": Pool((), "{noun}-{number}.csv", 0.4),
        "word": Pool(("north", "south", "retail"), "{noun}", 0.07),
        "subject": Pool((), "{verb} {noun}", 0.95),
        "site": Pool(
            ("mail01", "chat.corp", "sheets.example", "news.example", "pandas.pydata.org", "maps.example"),
            fresh="{noun}{number}.example",
            rate=0.13,
        ),
        "document": Pool((), "{home}/Downloads/{noun}-{number}.pdf", 0.5),
        "notebook": Pool(("{home}/analysis/churn/explore.ipynb",), "{home}/analysis/{noun}-{n}.ipynb", 0.1),
    },
    apps=(firefox(sites=8), thunderbird(sites=3), OFFICE, JUPYTER),
    jobs=((4, "/home/carol/bin/refresh-extract.sh"),),
    stays=0.4,
    typos=0.03,
    prompt=False,
)
