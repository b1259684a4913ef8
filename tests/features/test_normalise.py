from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomaly.features.levels import FeatureHasher
from anomaly.features.normalise import (
    GROUP_NUMBERS,
    MAX_FIELDS,
    NAME_COLUMNS,
    NOBODY,
    PERSON,
    ROOT,
    SERVICE,
    USER_NUMBERS,
    normalise,
)
from anomaly.osquery import Action

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
PARTS = (
    *("/home/", "/home", "/Users/", "/var/", "/root", "/run/user/", "user-", "user@", ".slice", "1000", "0", "77"),
    *(
        "alice",
        "bob",
        "ws1",
        "ws1.lan",
        "user",
        "other",
        "run",
        "home",
        "CORP",
        "corp.example",
        "al",
        "~",
        "{",
        "}",
    ),
    *("{user}", "{host}", "{other}", "~other", "~other-run", "~root", "~run", "/", "//", ".", "-", "@", "\\", " "),
    *("'", '"', ":", "$", "(", ")", "_", "\0", "\n", "\udc80", "ü", "+"),
)
HOSTILE_TEXT = st.lists(st.sampled_from(PARTS), max_size=12).map("".join) | ANY_TEXT
USERS = st.sampled_from(
    (
        *("alice", "root", "user", "other", "host", "home", "run", "other-run", "slice", "al", "1000", "uid:1000"),
        *("uid:0", "host:ws1", "CORP\\alice", "CORP+alice", "alice@corp.example", "alice bob", "ws1$", "", "ws1"),
    )
)
HOSTS = st.sampled_from(("ws1", "ws1.lan", "user", "other", "root", "alice.ws1", "al", "", "r"))
NUMBERS = st.sampled_from(
    ("", "-1", "4294967295", "0", "33", "1000", "1001", "65534", "1" * 20, "²", "-2", "root")
)
SPECIAL = sorted(NAME_COLUMNS | USER_NUMBERS | GROUP_NUMBERS)
ROWS = st.builds(
    lambda numbers, texts: {**numbers, **texts},
    st.dictionaries(st.sampled_from(SPECIAL), NUMBERS | HOSTILE_TEXT, max_size=8),
    st.dictionaries(
        st.sampled_from(("cmdline", "path", "cwd", "target_path", "pid")) | ANY_TEXT, HOSTILE_TEXT, max_size=6
    ),
)
QUERIES = st.sampled_from(("process_events", "file_events", "process_file_events", "shell_history", ""))


def row(
    *, user: str = "alice", host: str = "ws1", query: str = "process_events", **columns: str
) -> dict[str, str]:
    """Normalise a row of alice's."""
    return normalise(Action(0, host, user, query, "added", columns))


def text(value: str, user: str = "alice", host: str = "ws1", **columns: str) -> str:
    """Normalise one value of alice's."""
    return row(user=user, host=host, cmdline=value, **columns)["cmdline"]


@pytest.mark.parametrize("number", ["0", "33", "1000", "1001", "65534", "1874203517", "4294967294"])
@pytest.mark.parametrize("column", sorted(USER_NUMBERS))
def test_normalise_number_of_own_leaves_no_column(column: str, number: str) -> None:
    """The user's own number adds no column, whatever the number."""
    user = "root" if number == "0" else "alice"
    assert row(user=user, **{"auid": number, column: number}) == {}


def test_normalise_uid_alone_is_own() -> None:
    """Without ``auid`` the user's own number is ``uid``, then ``euid``."""
    assert row(uid="1007", euid="1007", username="alice") == {}
    assert row(euid="1007") == {}
    assert row(auid="4294967295", uid="1007", euid="0") == {"euid": ROOT}


@pytest.mark.parametrize(
    ("number", "role"),
    [
        ("0", ROOT),
        ("33", SERVICE),
        ("999", SERVICE),
        ("1001", PERSON),
        ("60000", PERSON),
        ("60001", SERVICE),
        ("65534", SERVICE),
        ("65536", PERSON),
        ("1874203517", PERSON),
        ("", NOBODY),
        ("-1", NOBODY),
        ("4294967295", NOBODY),
        ("no number", PERSON),
    ],
)
def test_normalise_number_of_another_is_its_role(number: str, role: str) -> None:
    """Root, a person, a service and nobody stay visible in any column of user numbers."""
    for column in USER_NUMBERS:
        assert row(**{"auid": "1000", column: number}) == {column: role}


def test_normalise_sudo_stays_visible_as_root() -> None:
    """Number 0 under ``auid`` 1000 is root, and all persons look alike under it."""
    assert row(auid="1000", uid="1000", euid="0") == {"euid": ROOT}
    assert row(auid="1000", uid="0", euid="0", gid="0") == {"uid": ROOT, "euid": ROOT, "gid": ROOT}
    assert row(auid="1000", uid="0") == row(auid="1873", uid="0", user="bob")


def test_normalise_sudo_without_auid_stays_visible_as_root() -> None:
    """A row of alice's whose ``uid`` is 0 shows root, also if the query does not ask for ``auid``."""
    assert row(username="alice", uid="0") == {"uid": ROOT}
    assert row(user="root", username="root", uid="0") == {}
    assert row(user="uid:0", uid="0") == {}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"auid": "1000", "gid": "1000", "egid": "1000"}, {}),
        ({"auid": "1000", "gid": "100", "egid": "100", "sgid": "100"}, {}),  # one group for all people
        ({"auid": "1000", "gid": "1000", "egid": "27"}, {"egid": SERVICE}),
        ({"auid": "1000", "gid": "1000", "egid": "0"}, {"egid": ROOT}),
        ({"auid": "1000", "gid": "1000", "egid": "1001"}, {"egid": PERSON}),
        ({"auid": "1000", "gid": "0", "egid": "0"}, {"gid": ROOT}),
        ({"auid": "0", "gid": "0", "egid": "0"}, {}),
        ({"auid": "1000", "gid": "", "egid": "4294967295"}, {}),
    ],
)
def test_normalise_group_of_own_leaves_no_column(columns: dict[str, str], expected: dict[str, str]) -> None:
    """A group is shown if it is root's, or another than ``gid`` and the user's own number."""
    user = "root" if columns["auid"] == "0" else "alice"
    assert row(user=user, **columns) == expected


@pytest.mark.parametrize(("number", "role"), [("0", ROOT), ("33", SERVICE), ("1000", PERSON)])
def test_normalise_owner_of_a_file_is_a_role(number: str, role: str) -> None:
    """``uid`` of file_events is the file's owner and never the user's own number."""
    assert row(query="file_events", uid=number) == {"uid": role}
    assert row(query="etc_file_events", uid=number) == {"uid": role}
    assert row(query="fim", target_path="/etc/x", uid=number)["uid"] == role


def test_normalise_process_file_events_uid_is_the_actor() -> None:
    """``uid`` of process_file_events is the user's own number, and ``owner_uid`` the file's owner."""
    assert row(query="process_file_events", uid="1000", owner_uid="1000") == {}
    assert row(query="process_file_events", uid="1000", owner_uid="0", pid="7") == {"owner_uid": ROOT, "pid": "7"}


def test_normalise_names_of_the_user_leave_no_column() -> None:
    """Columns that say who acted are left out."""
    assert row(username="alice", user_="x", auid="1000", name="ls") == {"name": "ls", "user_": "x"}
    assert normalise(Action(0, "ws1", "alice", "last", "added", {"user": "alice", "tty": "1"})) == {"tty": "1"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/alice", "~"),
        ("/home/alice/src/a", "~/src/a"),
        ("/home//alice/src", "~/src"),
        ("/var/home/alice /usr/home/alice /export/home/alice /Users/alice", "~ ~ ~ ~"),
        ("/srv/home/alice/x", "/srv~/x"),
        ("/home/bob/x /home/alice.bak /home/alice2 /home/al", "~other/x ~other ~other ~other"),
        ("ls '/home/alice' \"/home/alice\" x:/home/alice,/home/alice;", "ls '~' \"~\" x:~,~;"),
        ("$(ls /home/alice)|x>/home/alice&&y</home/alice", "$(ls ~)|x>~&&y<~"),
        ("see /home/alice.", "see ~."),
        ("/home /home/ /home/* /home/.cache", "/home /home/ /home/* /home/.cache"),
        ("/root /root/.ssh x=/root", "~root ~root/.ssh x=~root"),
        ("/rooted /srv/root /root.d /root-x", "/rooted /srv/root /root.d /root-x"),
        ("cd ~alice/src; cd ~bob", "cd ~/src; cd ~bob"),
    ],
)
def test_normalise_home_is_a_placeholder(value: str, expected: str) -> None:
    """The user's home is ``~``, root's ``~root``, and all others are ``~other``."""
    assert text(value) == expected


def test_normalise_home_of_root_is_their_own() -> None:
    """Root's own home is ``~``, by name and by number."""
    assert text("/root/x ~root /home/bob", user="root") == "~/x ~ ~other"
    assert text("/root/x", user="uid:0") == "~/x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ssh alice@ws1", "ssh {user}@{host}"),
        ("ssh alice@ws1.lan:/tmp/alice", "ssh {user}@{host}:/tmp/{user}"),
        ("--user=alice alice.txt (alice)", "--user={user} {user}.txt ({user})"),
        (
            "malice alices alice2 alice_x alice-x x-alice x.alice",
            "malice alices alice2 alice_x alice-x x-alice x.alice",
        ),
        ("xws1 ws1x ws12 ws1-a", "xws1 ws1x ws12 ws1-a"),
        ("ALICE WS1", "ALICE WS1"),
    ],
)
def test_normalise_name_is_a_placeholder_but_not_inside_words(value: str, expected: str) -> None:
    """The user's and the host's own names are placeholders where they are words of their own."""
    assert text(value, host="ws1.lan") == expected


def test_normalise_short_name_stays() -> None:
    """A name of two letters is part of too many words to be replaced; the home of its user is."""
    assert text("al ws /home/al/x", user="al", host="ws") == "al ws ~/x"


def test_normalise_name_of_user_and_host_is_the_user() -> None:
    """A user who is called as their host is the user."""
    assert text("ssh ws1", user="ws1") == "ssh {user}"


@pytest.mark.parametrize("user", ["CORP\\carol", "CORP+carol", "carol@corp.example", "carol"])
def test_normalise_directory_account_goes_by_its_short_name(user: str) -> None:
    """An account of a directory is the name without its domain, and so is its home."""
    assert text("/home/carol/x carol@ws1 /home/bob", user=user) == "~/x {user}@{host} ~other"


@pytest.mark.parametrize(
    ("user", "home"),
    [
        ("CORP\\carol", "/home/CORP/carol"),
        ("CORP\\carol", "/home/corp/carol"),
        ("carol@corp.example", "/home/corp.example/carol"),
        ("carol@corp.example", "/home/carol@corp.example"),
    ],
)
def test_normalise_directory_home_is_own(user: str, home: str) -> None:
    """The home of a directory's account may have the domain before or behind the name."""
    assert text(f"{home}/x", user=user) == "~/x"
    assert text(f"{home}2/x", user=user) == "~other/x"


@pytest.mark.parametrize("user", ["uid:1000", "host:ws1"])
def test_normalise_user_without_a_name_owns_all_homes(user: str) -> None:
    """Of a user known only by number or host no home is told from another's; root's is."""
    assert text("/home/alice/x /home/bob alice /root", user=user) == "~/x ~ alice ~root"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/run/user/1000/bus", "~run/bus"),
        ("/var/run/user/1000", "~run"),
        ("/run/user/1001/bus /run/user/0", "~other-run/bus ~other-run"),
        ("/run/user/1000x /run/user/x", "/run/user/1000x /run/user/x"),
        ("/user.slice/user-1000.slice/user@1000.service/x", "/user.slice/{user}.slice/{user}.service/x"),
        ("user-1001.slice", "{other}.slice"),
        ("superuser-1000.slice user-1000", "superuser-1000.slice user-1000"),
    ],
)
def test_normalise_number_in_a_path_is_a_placeholder(value: str, expected: str) -> None:
    """The user's number in paths of systemd is the user's or another's."""
    assert text(value, auid="1000") == expected


def test_normalise_number_in_a_path_is_own_if_none_is_known() -> None:
    """A row that does not tell the user's number shows no other's."""
    assert text("/run/user/1000/bus") == "~run/bus"


def test_normalise_orders_columns_by_name() -> None:
    """The columns come by name, and only the first MAX_FIELDS of those that say something."""
    columns = {f"c{number:04}": "x" for number in range(5000)}
    shuffled = list(columns.items())
    Random(1).shuffle(shuffled)  # noqa: S311 - sample data
    found = row(**dict(shuffled), auid="1000", euid="1000")
    assert list(found.items()) == list(columns.items())[:MAX_FIELDS]


@settings(deadline=None, max_examples=400)
@given(ROWS, USERS | HOSTILE_TEXT, HOSTS | HOSTILE_TEXT, QUERIES)
@example({"auid": "1000", "uid": "0", "euid": "0", "gid": "0"}, "alice", "ws1", "process_events")
@example({"cmdline": "/home/alice/root /home//home/bob"}, "alice", "ws1", "")
@example({"cmdline": "user {user} ~other /run/user/1"}, "user", "run", "")
@example({"cmdline": "/home/bob"}, "other", "ws1", "")
def test_normalise_twice_changes_nothing(columns: dict[str, str], user: str, host: str, query: str) -> None:
    """Normalising what is normalised gives the same, as the same user or as one of whom nothing is known."""
    once = normalise(Action(0, host, user, query, "added", columns))
    assert normalise(Action(0, host, user, query, "added", once)) == once
    assert normalise(Action(0, "", "", query, "added", once)) == once


TEMPLATES = (
    *("ls HOME/src", "ssh NAME@HOST", "/home/other1/x", "cat /root/x", "HOME", "echo NAME", "scp x HOST.lan:HOME"),
    *("/run/user/UID/bus", "user@UID.service", "sudo -u NAME id", "git status", "", "xNAMEx"),
)
PEOPLE = st.sampled_from(
    (
        *(
            ("alice", "ws1", "1000"),
            ("bob", "web", "1001"),
            ("zoë", "db-1", "1873204982"),
            ("carol", "ws1", "60000"),
        ),
        *(("alice", "ws2.lan", "33"), ("j.doe", "10.0.0.1", "4294967294")),
    )
)
NUMBERED = {"uid": "UID", "euid": "UID", "suid": "0", "gid": "UID", "egid": "UID", "fsuid": "1999", "auid": "UID"}


def of_person(template: dict[str, str], person: tuple[str, str, str]) -> dict[str, str]:
    """Write a person's name, home, host and number into a row."""
    name, host, number = person
    words = {"HOME": f"/home/{name}", "NAME": name, "HOST": host, "UID": number}
    filled = {}
    for column, value in template.items():
        for word, meaning in words.items():
            value = value.replace(word, meaning)  # noqa: PLW2901 - filled in
        filled[column] = value
    return filled


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(("cmdline", "path", "cwd", "name")), st.sampled_from(TEMPLATES)),
    st.sets(st.sampled_from(sorted(NUMBERED))),
    st.booleans(),
    PEOPLE,
    PEOPLE,
)
def test_normalise_renamed_person_has_the_same_features(
    texts: dict[str, str],
    numbers: set[str],
    named: bool,  # noqa: FBT001 - drawn
    one: tuple[str, str, str],
    other: tuple[str, str, str],
) -> None:
    """Another user, home, number and host in all columns change no feature."""
    if any("xNAMEx" in value for value in texts.values()):
        other = (one[0], *other[1:])  # a name inside a word is none
    template = {**texts, **{column: NUMBERED[column] for column in numbers | {"uid"}}}
    template |= {"username": "NAME"} if named else {}
    hasher = FeatureHasher(key=1, silent=set())
    found = {
        hasher.features("process_events", "added", normalise(action))
        for name, host, number in (one, other)
        for action in [Action(0, host, name, "process_events", "added", of_person(template, (name, host, number)))]
    }
    assert len(found) == 1


@settings(deadline=None)
@given(ROWS, USERS, QUERIES, st.randoms(use_true_random=False))
def test_normalise_shuffled_columns_have_the_same_features(
    columns: dict[str, str], user: str, query: str, chance: Random
) -> None:
    """The order of a row's columns changes no feature, nor their order."""
    shuffled = list(columns.items())
    chance.shuffle(shuffled)
    hasher = FeatureHasher(key=1, silent=set())
    one, other = (
        hasher.features(query, "added", normalise(Action(0, "ws1", user, query, "added", dict(items))))
        for items in (columns, shuffled)
    )
    assert one == other


@settings(deadline=None)
@given(st.dictionaries(ANY_TEXT | st.sampled_from(SPECIAL), HOSTILE_TEXT, max_size=60), HOSTILE_TEXT, HOSTILE_TEXT)
def test_normalise_hostile_row_raises_nothing(columns: dict[str, str], user: str, host: str) -> None:
    """Any text in any column, user and host gives at most MAX_FIELDS columns, ordered by name."""
    found = normalise(Action(0, host, user, "q", "added", columns))
    assert len(found) <= MAX_FIELDS
    assert list(found) == sorted(found)
    assert set(found) <= set(columns) - NAME_COLUMNS


@pytest.mark.parametrize("tail", ["", "/home/alice"])
@pytest.mark.parametrize(
    "pattern",
    [
        *("/", "/home", "/home/", "/home//", "/home/a.", "/home/corp/", "/root", "/run/user/", "/run/user/1", "1"),
        *(
            "user-1",
            "alice",
            "alice ",
            "~alice",
            "~",
            "{user}",
            ".",
            "a.",
            "-",
            " ",
            "\0",
            "\udc80",
            "/var",
            "home/",
        ),
    ],
)
def test_normalise_hostile_value_takes_linear_time(pattern: str, tail: str) -> None:
    """A value of 1 MB is normalised in a fraction of a second."""
    value = (pattern * 1_000_000)[:1_000_000] + tail
    begin = time.process_time()
    text(value, user="CORP\\alice")
    assert time.process_time() - begin < 2.0  # a regular expression gone quadratic in 1 MB takes hours
