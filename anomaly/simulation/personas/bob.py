"""Bob administers the systems: rounds over many hosts, services, logs, packages, configuration."""

from __future__ import annotations

from anomaly.simulation.persona import Hours, Persona, Pool, Task, do
from anomaly.simulation.personas.desktop import firefox, thunderbird

BOB = Persona(
    hours=Hours(begin=7.4, finish=16.2, lunch=11.6, jitter=0.5, weekend=0.35, night=0.22),
    pause=30,
    stint=45,
    rest=58,
    first="check",
    projects=(("{home}/infra", 0.0), ("{home}/runbooks", 0.0), ("{home}/migration", 0.55)),
    tasks={
        "check": Task(
            (
                do("uptime", "w", "last -n {n}"),
                do("systemctl --failed", "systemctl list-timers", chance=0.6),
                do("journalctl -p err -b", "journalctl -p warning --since today", chance=0.6),
                do("df -h", "free -m", "df -i", chance=0.5),
                do("ls", "cd {project}", chance=0.4),
            ),
            then={"rounds": 4, "service": 3, "logs": 2, "ansible": 1, "packages": 1},
        ),
        "rounds": Task(
            (
                do("ssh {host}", "ssh {host} uptime", "ssh {host} 'df -h /'", "ssh root@{host}"),
                do("ssh {host} 'systemctl status {unit}'", "ssh {host} 'tail -n {number} {log}'", chance=0.4),
            ),
            then={
                "rounds": 4,
                "service": 2,
                "logs": 2,
                "network": 1.5,
                "backup": 1,
                "ansible": 1,
                "people": 0.5,
                "terraform": 1,
            },
            again=0.5,
        ),
        "service": Task(
            (
                do("systemctl status {unit}", "sudo systemctl status {unit}"),
                do("journalctl -u {unit} -n {number}", "sudo journalctl -u {unit} --since today", chance=0.8),
                do("sudo vim /etc/{unit}/{conf}", "cat /etc/{unit}/{conf}", chance=0.35),
                do("sudo systemctl restart {unit}", "sudo systemctl reload {unit}", chance=0.5),
                do("systemctl status {unit}", chance=0.6),
            ),
            then={"logs": 3, "rounds": 3, "network": 2, "config": 2, "service": 1},
        ),
        "logs": Task(
            (
                do("tail -f {log}", "tail -n {number} {log}", "less {log}", "sudo tail -f {log}"),
                do(
                    "grep -i error {log} | tail",
                    "grep {peer} {log} | wc -l",
                    "zgrep {word} {log}.2.gz",
                    chance=0.6,
                ),
                do("cut -d' ' -f1 {log} | sort | uniq -c | sort -rn | head", chance=0.3),
            ),
            then={"service": 3, "rounds": 3, "network": 2, "logs": 1},
            again=0.25,
        ),
        "packages": Task(
            (
                do("sudo apt update"),
                do("apt list --upgradable", chance=0.7),
                do("sudo apt upgrade -y", "sudo apt install -y {package}", "apt-cache policy {package}"),
                do("dpkg -l | grep {package}", "apt-cache search {word}", chance=0.4),
            ),
            then={"check": 3, "service": 2, "rounds": 2},
        ),
        "backup": Task(
            (
                do("rsync -av --delete {host}:{tree} /srv/backup/{host}", "rsync -av /srv/backup/ backup01:/srv/"),
                do("du -sh /srv/backup/*", "ls -lh /srv/backup", chance=0.6),
                do("find /srv/backup -mtime +{number} -name '*.gz' | head", chance=0.3),
                do("tar czf /srv/backup/{host}-{day}.tar.gz {tree}", chance=0.3),
            ),
            then={"rounds": 3, "check": 2, "config": 1},
        ),
        "ansible": Task(
            (
                do("cd {project}"),
                do("git pull", chance=0.6),
                do("vim playbooks/{playbook}.yml", "vim roles/{role}/tasks/main.yml", "vim inventory/hosts"),
                do("ansible-playbook -C playbooks/{playbook}.yml", "ansible-lint", chance=0.6),
                do("ansible-playbook playbooks/{playbook}.yml -l {host}", "ansible all -m ping"),
            ),
            then={"config": 3, "rounds": 3, "service": 1, "ansible": 1},
        ),
        "config": Task(
            (
                do("cd {project}", chance=0.6),
                do("vim {page}", "vim roles/{role}/templates/{conf}.j2", "cat {page}"),
                do("git diff", "git status", chance=0.7),
                do("git add -A", "git add {page}", chance=0.8),
                do("git commit -m '{subject}'"),
                do("git push", chance=0.8),
            ),
            then={"rounds": 3, "ansible": 2, "check": 2},
        ),
        "network": Task(
            (
                do("ping -c {n} {host}", "dig {host}", "mtr -r {host}", "traceroute {host}"),
                do("ss -tlnp", "ss -tn | grep {peer}", "ip a", "ip route", chance=0.5),
                do("sudo tcpdump -ni eth0 host {peer}", "sudo tcpdump -ni eth0 port 53 -c {number}", chance=0.3),
                do(
                    "curl -sI http://{host}/",
                    "nc -zv {host} 443",
                    "openssl s_client -connect {host}:443",
                    chance=0.3,
                ),
            ),
            then={"service": 3, "rounds": 3, "logs": 2, "config": 1},
        ),
        "people": Task(
            (
                do("getent passwd {colleague}", "id {colleague}"),
                do("sudo usermod -aG docker {colleague}", "sudo chage -l {colleague}", chance=0.5),
                do("ldapsearch -x -h ldap01 uid={colleague}", chance=0.4),
            ),
            then={"check": 2, "rounds": 2},
        ),
        "terraform": Task(
            (
                do("cd {project}"),
                do("vim modules/{role}/main.tf", "terraform fmt"),
                do("terraform plan", "terraform plan -target=module.{role}"),
                do("terraform apply -auto-approve", "terraform state list", chance=0.4),
            ),
            then={"config": 3, "rounds": 2, "terraform": 1},
            since=0.5,
        ),
    },
    pools={
        "host": Pool(
            (
                "web01",
                "web02",
                "db01",
                "app01",
                "mon01",
                "mail01",
                "app02",
                "backup01",
                "web03",
                "ldap01",
                "db02",
                "files01",
                "build01",
                "gateway",
            ),
        ),
        "peer": Pool(("10.20.2.11", "10.20.3.11"), "10.20.{n}.{number}", 0.35),
        "unit": Pool(
            ("nginx", "postgresql", "ssh", "prometheus", "postfix", "docker", "cron", "slapd"), "{noun}d", 0.02
        ),
        "conf": Pool(("nginx.conf", "main.cf", "postgresql.conf", "prometheus.yml"), "conf.d/{noun}.conf", 0.2),
        "log": Pool(
            (
                "/var/log/syslog",
                "/var/log/nginx/error.log",
                "/var/log/auth.log",
                "/var/log/nginx/access.log",
                "/var/log/mail.log",
            ),
            fresh="/var/log/{noun}/{noun}.log",
            rate=0.1,
        ),
        "word": Pool(("timeout", "refused", "oom"), "{noun}", 0.3),
        "package": Pool(("nginx", "htop", "openssl", "tmux", "jq"), "lib{noun}{n}", 0.25),
        "tree": Pool(("/etc", "/var/lib/postgresql", "/srv/www"), "/srv/{noun}", 0.12),
        "playbook": Pool(("site", "web", "db", "patch"), "{noun}", 0.1),
        "role": Pool(("nginx", "base", "postgres", "monitoring"), "{noun}", 0.08),
        "page": Pool(("README.md", "oncall.md"), "{noun}-{noun}.md", 0.2, local=True),
        "subject": Pool((), "{noun}: {verb} {noun}", 0.97),
        "colleague": Pool(("alice", "carol", "dave", "erin"), "{noun}", 0.1),
        "site": Pool(
            ("mon01", "ubuntu.com", "chat.corp", "mail01", "packages.debian.org", "serverfault.com"),
            fresh="{noun}-{noun}.example",
            rate=0.2,
        ),
        "document": Pool((), "{home}/Downloads/{noun}-{number}.pdf", 0.6),
    },
    apps=(firefox(sites=4.5), thunderbird(sites=2)),
    jobs=((2, "/home/bob/bin/check-certs.sh"),),
    stays=0.35,
    typos=0.025,
)
