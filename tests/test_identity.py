"""Who acted, and what numbers are called."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.identity import Identities, actor, capped
from anomaly.osquery import Parser


def nobody(_: int) -> str | None:
    """Know no user."""
    return None


def knowing(pairs: dict[str, str]) -> Identities:
    """Make identities that know some pairs of the host web."""
    identities = Identities(hostname="here", lookup=nobody)
    identities.update({"web": pairs})
    return identities


def who(columns: dict[str, str], query: str = "processes", decorated: str = "") -> str:
    """Say who acted on the host web, where 0 is root and 1000 alice."""
    return actor(query, "web", columns, decorated, knowing({"0": "root", "1000": "alice"}))


class TestActor:
    """The order in which a row is asked."""

    @pytest.mark.parametrize(
        ("columns", "user"),
        [
            ({"username": "bob", "user": "eve", "auid": "1000", "uid": "0"}, "bob"),
            ({"username": "", "user": "eve", "auid": "1000"}, "eve"),
            ({"auid": "1000", "uid": "0", "euid": "0"}, "alice"),
            ({"auid": "4294967295", "uid": "0"}, "root"),
            ({"auid": "-1", "uid": "0"}, "root"),
            ({"auid": "", "uid": "0"}, "root"),
            ({"uid": "", "euid": "1000"}, "alice"),
            ({"uid": "4294967295", "euid": "-1"}, "host:web"),
            ({"uid": "1001"}, "uid:1001"),
            ({"uid": "S-1-5-18"}, "uid:S-1-5-18"),
            ({}, "host:web"),
        ],
    )
    def test_order(self, columns: dict[str, str], user: str) -> None:
        """A name comes first, then the login user, the user, the effective user, and at last the host."""
        assert who(columns) == user

    def test_decorations_come_last(self) -> None:
        """The decorated username names the host's sessions, so it is asked after the row."""
        assert who({"uid": "0"}, decorated="carol") == "root"
        assert who({"uid": ""}, decorated="carol") == "carol"

    @pytest.mark.parametrize(
        "query", ["file_events", "my_file_events", "ntfs_file_events", "es_process_file_events"]
    )
    def test_owner_of_a_file(self, query: str) -> None:
        """The uid of file events is the file's owner, not who acted, and teaches no name."""
        assert who({"uid": "1000", "euid": "0"}, query) == "host:web"
        identities = knowing({})
        actor(query, "web", {"uid": "7", "username": "dan"}, "", identities)
        assert identities.to_dict() == {}

    def test_process_file_events(self) -> None:
        """The uid of process_file_events is who acted."""
        assert who({"auid": "4294967295", "uid": "1000"}, "process_file_events") == "alice"

    @pytest.mark.parametrize(
        ("query", "columns", "user"),
        [
            ("logged_in_users", {"user": "bob", "type": "user"}, "bob"),
            ("logged_in_users", {"user": "bob"}, "bob"),
            ("logged_in_users", {"user": "LOGIN", "type": "login"}, "host:web"),
            ("logged_in_users", {"user": "runlevel", "type": "runlevel"}, "host:web"),
            ("last", {"username": "bob", "type": "7", "type_name": "user-process"}, "bob"),
            ("last", {"username": "bob", "type": "8"}, "bob"),
            ("last", {"username": "bob", "type_name": "user-process"}, "bob"),
            ("last", {"username": "reboot", "type": "2"}, "host:web"),
            ("last", {"username": "shutdown", "type_name": "run-lvl"}, "host:web"),
            ("mounts", {"user": "bob", "type": "ext4"}, "bob"),
        ],
    )
    def test_sessions(self, query: str, columns: dict[str, str], user: str) -> None:
        """Boots, runlevels and gettys in the tables of sessions are no users."""
        assert who(columns, query) == user

    def test_unknown_host(self) -> None:
        """Where neither a user nor a host is named there is still somebody to learn the behaviour of."""
        assert actor("mounts", "", {}, "", knowing({})) == "host:-"

    @pytest.mark.parametrize(
        ("columns", "decorated"),
        [
            ({"username": "x" * 65536}, ""),
            ({"user": "x" * 65536}, ""),
            ({"uid": "9" * 65536}, ""),
            ({}, "x" * 65536),
        ],
    )
    def test_long_names(self, columns: dict[str, str], decorated: str) -> None:
        """A hostile name is cut, wherever it stands."""
        assert len(who(columns, decorated=decorated)) == 256


class TestLearning:
    """What a row teaches."""

    @pytest.mark.parametrize(
        ("columns", "learned"),
        [
            ({"username": "bob", "uid": "7"}, {"7": "bob"}),
            ({"username": "bob", "uid": "7", "auid": "4294967295"}, {"7": "bob"}),
            ({"username": "bob", "uid": "7", "auid": "7"}, {"7": "bob"}),
            ({"username": "bob", "auid": "7"}, {"7": "bob"}),
            ({"username": "bob", "auid": "7", "uid": ""}, {"7": "bob"}),
            ({"username": "bob", "auid": "7", "uid": "0"}, {}),
            ({"user": "bob", "uid": "7"}, {}),
            ({"username": "", "uid": "7"}, {}),
            ({"username": "bob", "uid": "-1"}, {}),
            ({"username": "bob", "uid": "seven"}, {}),
            ({"username": "bob", "uid": "\N{ARABIC-INDIC DIGIT SEVEN}"}, {}),
            ({"username": "bob", "uid": "12345678901"}, {}),
        ],
    )
    def test_pairs(self, columns: dict[str, str], learned: dict[str, str]) -> None:
        """A number and a name are a pair only where the row leaves no doubt which number is meant."""
        identities = knowing({})
        actor("processes", "web", columns, "", identities)
        assert identities.to_dict().get("web", {}) == learned

    def test_first_pair_wins(self) -> None:
        """What a number is called does not change, so that a user keeps one model."""
        identities = knowing({"7": "bob"})
        identities.learn("web", "7", "eve")
        assert identities.name("web", "7") == "bob"

    def test_hosts_are_apart(self) -> None:
        """A number is another user on another host."""
        assert knowing({"7": "bob"}).name("db", "7") == "uid:7"

    def test_bounded(self) -> None:
        """Nobody can fill the memory with pairs, long hosts or long names."""
        identities = Identities(hostname="here", lookup=nobody, limit=3)
        for number in range(10):
            identities.learn("web", str(number), "x" * 65536)
        identities.learn("h" * 300, "1", "bob")
        assert list(identities.to_dict()["web"]) == ["0", "1", "2"]
        assert {len(name) for name in identities.to_dict()["web"].values()} == {256}
        assert knowing({}).to_dict() == {}

    def test_long_host_teaches_nothing(self) -> None:
        """A host too long to be one is not kept."""
        identities = knowing({})
        identities.learn("h" * 256, "1", "bob")
        assert identities.to_dict() == {}

    def test_in_the_order_of_the_log(self) -> None:
        """A parser names a number from the first line that shows its name on, and not before."""
        row = b'{"name":"p","hostIdentifier":"web","columns":{"uid":"7"%s},"action":"added"}'
        parser = Parser(knowing({}))
        users = []
        for line in (row % b"", row % b',"username":"bob"', row % b""):
            found = parser.parse(line)
            assert isinstance(found, list)
            users += [action.user for action in found]
        assert users == ["uid:7", "bob", "bob"]


class TestSystem:
    """The user database of this machine."""

    @pytest.mark.parametrize("host", ["ws1", "WS1", "ws1.example.org"])
    def test_this_machine(self, host: str) -> None:
        """For rows of this machine, by whatever form of its name, the system is asked."""
        identities = Identities(hostname="ws1.lan", lookup={0: "root"}.get)
        assert identities.name(host, "0") == "root"
        assert identities.name(host, "5") == "uid:5"

    @pytest.mark.parametrize("host", ["web", "ws", "ws11", "", "4C4C4544-0033"])
    def test_other_machines(self, host: str) -> None:
        """For rows of another machine it is not."""
        assert Identities(hostname="ws1", lookup=lambda _: "root").name(host, "0") == "uid:0"

    def test_the_log_comes_first(self) -> None:
        """The log knows better than the system what a number was called."""
        identities = Identities(hostname="ws1", lookup=lambda _: "alice")
        identities.learn("ws1", "7", "bob")
        assert identities.name("ws1", "7") == "bob"

    def test_asked_once(self) -> None:
        """A number is looked up once: the database may be on the network."""
        asked: list[int] = []
        identities = Identities(hostname="ws1", lookup=asked.append)
        assert [identities.name("ws1", "5") for _ in range(3)] == ["uid:5"] * 3
        assert asked == [5]

    @pytest.mark.parametrize("uid", ["0", "4294967294", "4294967295", "9999999999", "-1", "x", "", "9" * 5000])
    def test_default(self, uid: str) -> None:
        """No number makes the system's own database raise."""
        identities = Identities(hostname="ws1")
        assert identities.name("ws1", uid) == ("root" if uid == "0" else capped(f"uid:{uid}"))

    def test_not_exported(self) -> None:
        """What the system said is not saved: the next process asks again."""
        identities = Identities(hostname="ws1", lookup=lambda _: "root")
        identities.name("ws1", "0")
        assert identities.to_dict() == {}


class TestExport:
    """Identities are saved in checkpoints and models."""

    @given(
        st.dictionaries(
            st.text(max_size=9), st.dictionaries(st.integers(0, 2**32 - 2).map(str), st.text(min_size=1))
        )
    )
    def test_round_trip(self, data: dict[str, dict[str, str]]) -> None:
        """What is exported, as JSON, makes the same identities again."""
        exported = Identities.from_dict(data).to_dict()
        assert exported == {host: names for host, names in data.items() if names}
        assert Identities.from_dict(json.loads(json.dumps(exported))).to_dict() == exported

    @pytest.mark.parametrize(
        "data",
        [
            *(None, 7, "text", [], ["web"]),
            *({1: {"7": "bob"}}, {"web": None}, {"web": ["7"]}, {"web": {7: "bob"}}),
            *({"web": {"7": None}}, {"web": {"7": ["bob"]}}, {"web": {"seven": "bob"}}, {"web": {"7": ""}}),
        ],
    )
    def test_wrong_types(self, data: object) -> None:
        """What is of another form is left out, and raises nothing."""
        assert Identities.from_dict(data).to_dict() == {}

    def test_good_beside_bad(self) -> None:
        """A wrong entry costs only itself."""
        assert Identities.from_dict({"web": {"7": "bob", "8": 9}}).to_dict() == {"web": {"7": "bob"}}


class TestCapped:
    """Users of any length."""

    def test_different_stay_different(self) -> None:
        """Two long names that differ only at their ends are two users."""
        assert capped("x" * 9999 + "a") != capped("x" * 9999 + "b")

    def test_short(self) -> None:
        """A name of 256 characters is kept."""
        assert capped("x" * 256) == "x" * 256
