"""Alice develops software: an edit, build and test loop, git all day, containers, a build host."""

from __future__ import annotations

from anomaly.simulation.persona import Hours, Persona, Pool, Task, do
from anomaly.simulation.personas.desktop import CODE, firefox, thunderbird

ALICE = Persona(
    hours=Hours(begin=8.6, finish=17.4, lunch=12.1, weekend=0.25),
    pause=52,
    stint=55,
    rest=48,
    first="arrive",
    projects=(("{home}/src/gateway", 0.0), ("{home}/src/parcels", 0.0), ("{home}/src/parcels-ui", 0.64)),
    tasks={
        "arrive": Task(
            (
                do("git status", "git status -sb"),
                do("git pull", "git pull --rebase", "git fetch origin", chance=0.7),
                do("docker compose up -d", chance=0.25),
                do("git log --oneline -{n}", "git log --oneline --graph", chance=0.4),
            ),
            then={"edit": 5, "look": 2, "containers": 1, "branch": 2},
        ),
        "edit": Task(
            (
                do("vim {source}", "vim +{number} {source}", "vim {test}"),
                do("git diff", "git diff {source}", chance=0.35),
                do("make", "make -j4", "make {target}", chance=0.55),
                do("pytest -q {test}", "pytest -x", "pytest -q -k {word}", "make test", chance=0.75),
                do("vim {source}", "vim {test}", chance=0.4),
                do("pytest -q {test}", "pytest -x --lf", chance=0.4),
            ),
            then={
                "edit": 3,
                "commit": 4,
                "search": 2,
                "look": 1,
                "containers": 1,
                "web": 1.5,
                "run": 1,
                "cluster": 1.5,
            },
            again=0.35,
        ),
        "search": Task(
            (
                do("grep -rn {word} src", "rg {word}", "git grep -n {word}"),
                do("rg -l {word} | head -n {n}", "grep -rn {word} tests | less", chance=0.4),
                do("less {source}", "cat {source}", chance=0.5),
                do("git blame {source}", "git log -p {source}", chance=0.2),
            ),
            then={"edit": 6, "look": 1, "search": 1},
        ),
        "commit": Task(
            (
                do("git status", "git diff --stat", "git st"),
                do("git add {source}", "git add -p", "git add -u"),
                do("git commit -m '{subject}'", "git commit -m '{subject}'", "git commit --amend --no-edit"),
                do("git push", "git push origin HEAD", "git push --force-with-lease", chance=0.5),
            ),
            then={"edit": 5, "branch": 2, "build": 1, "review": 1, "look": 1},
        ),
        "branch": Task(
            (
                do("git branch", "git branch -a", chance=0.4),
                do("git checkout {branch}", "git checkout -b {branch}", "git switch main"),
                do("git rebase main", "git merge origin/main", "git stash pop", chance=0.4),
            ),
            then={"edit": 5, "look": 1, "review": 1},
        ),
        "review": Task(
            (
                do("git fetch origin"),
                do("git diff main...origin/{branch}", "git log origin/{branch} --stat"),
                do("git show {hex}", "git show HEAD~{n}", chance=0.5),
            ),
            then={"edit": 4, "branch": 2, "search": 1},
        ),
        "look": Task(
            (
                do("ls", "ls -l", "ll"),
                do("cd {project}", "cd {project}/src", "cd ..", "cd {project}/tests", chance=0.6),
                do("ls", "ls -la", chance=0.5),
                do("cat README.md", "cat Makefile", "head -n {number} {source}", "wc -l {source}", chance=0.4),
            ),
            then={"edit": 4, "search": 2, "arrive": 1},
        ),
        "containers": Task(
            (
                do("docker ps", "docker compose ps"),
                do("docker compose logs --tail {number} {service}", "docker logs -f {service}", chance=0.6),
                do("docker compose restart {service}", "docker compose up -d --build {service}", chance=0.4),
                do("docker exec -it {service} sh", "curl -s http://localhost:8080/{word}", chance=0.3),
                do("docker build -t registry.corp/{service}:{hex} .", chance=0.2),
            ),
            then={"edit": 4, "containers": 1, "build": 1},
        ),
        "build": Task(
            (
                do("ssh build01", "ssh build01 'tail -n {number} ci/{branch}.log'", "ssh build02"),
                do("scp build01:ci/{branch}/{word}.tar.gz /tmp/{word}-{hex}.tar.gz", chance=0.3),
                do("tar tzf /tmp/{word}-{hex}.tar.gz", chance=0.15),
            ),
            then={"edit": 3, "commit": 1},
            again=0.2,
        ),
        "web": Task(
            (
                do("npm test", "npm run build", "npm run lint"),
                do("vim ui/{word}.ts", chance=0.6),
                do("npm install", "npm install {package}", "npx tsc --noEmit", chance=0.25),
                do("npm run dev", chance=0.3),
            ),
            then={"commit": 2, "edit": 3, "web": 2},
            trend=2.0,
        ),
        "run": Task(
            (
                do("python -m {module} --port 8{number}", "./run.sh {word}", "python scripts/{word}.py"),
                do("curl -s localhost:8080/health", "gdb -q ./build/{word}", chance=0.4),
            ),
            then={"edit": 5, "search": 2},
        ),
        "cluster": Task(
            (
                do("kubectl get pods", "kubectl get pods -n {service}"),
                do("kubectl logs {service}-{hex}", "kubectl describe pod {service}-{hex}", chance=0.6),
                do("vim deploy/{service}.yaml", chance=0.4),
                do("kubectl apply -f deploy/{service}.yaml", chance=0.4),
            ),
            then={"edit": 3, "containers": 1, "commit": 1},
            since=0.5,
        ),
    },
    pools={
        "source": Pool(
            ("src/main.c", "src/route.c", "src/session.c", "app/models.py", "app/views.py"),
            fresh="src/{noun}_{noun}.c",
            rate=0.035,
            local=True,
        ),
        "test": Pool(("tests/test_api.py", "tests/test_models.py"), "tests/test_{noun}.py", 0.03, local=True),
        "target": Pool(("all", "clean", "install", "docs", "lint"), "build/{noun}.o", 0.05),
        "word": Pool(("session", "route", "token", "parcel"), "{noun}", 0.06),
        "subject": Pool((), "{verb} {noun} {noun}", 0.97),
        "branch": Pool(("main", "develop", "release"), "{verb}-{noun}-{number}", 0.1),
        "service": Pool(("api", "worker", "redis", "postgres", "nginx"), "{noun}", 0.02),
        "package": Pool(("react", "vite", "eslint", "zod"), "{noun}-{noun}", 0.4),
        "module": Pool(
            ("gateway", "parcels", "http.server"),
        ),
        "site": Pool(
            ("github.com", "docs.python.org", "stackoverflow.com", "cdn.jsdelivr.net", "mail01", "chat.corp"),
            fresh="{noun}{noun}.example",
            rate=0.16,
        ),
        "document": Pool((), "{home}/Downloads/{noun}-{number}.pdf", 0.6),
        "edited": Pool(("{home}/src/gateway/README.md",), "{home}/src/parcels/src/{noun}_{noun}.py", 0.14),
    },
    apps=(firefox(sites=5), CODE, thunderbird(sites=2)),
    jobs=((3, "/home/alice/bin/sync-notes.sh"),),
)
