"""From a value to more general ones, whatever the value."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.values import COMMAND_COLUMNS, MAX_VALUE, is_numeric, levels

MOST_LEVELS = 3

COLUMNS = st.sampled_from(("command", "cmdline", "path", "remote_address", "name", "pid", "", "日"))
ANYTHING = st.text(st.characters(exclude_categories=()))
LIKELY = st.lists(
    st.sampled_from(
        (
            "/",
            "//",
            ".",
            "..",
            "sudo",
            " ",
            "-",
            "--x=",
            "'",
            '"',
            "\\",
            "=",
            "A=b",
            ":",
            "::",
            "%",
            "0x",
            "7",
            "ab3f91c",
        )
    ),
    max_size=30,
).map("".join)


class TestAnyValue:
    """Whoever writes the log chooses the values."""

    @given(COLUMNS, ANYTHING | LIKELY)
    def test_is_read_and_the_outcome_is_bounded(self, column: str, value: str) -> None:
        """No value raises, and neither the number nor the length of its forms grows with it."""
        found = levels(column, value)
        assert len(found) <= MOST_LEVELS
        assert all(0 < len(form) <= MAX_VALUE + 64 for form in found)
        assert len(set(found)) == len(found)

    @given(COLUMNS, ANYTHING | LIKELY)
    def test_gives_the_same_forms_each_time(self, column: str, value: str) -> None:
        """The forms follow from the value alone."""
        assert levels(column, value) == levels(column, "".join(list(value)))

    @given(COLUMNS, st.text(min_size=MAX_VALUE, max_size=MAX_VALUE + 8), st.text(max_size=40))
    def test_is_looked_at_up_to_a_length(self, column: str, head: str, tail: str) -> None:
        """What comes after the first MAX_VALUE characters changes nothing."""
        assert levels(column, head + tail) == levels(column, head[:MAX_VALUE])

    @pytest.mark.parametrize("column", ["command", "path", "name"])
    @pytest.mark.parametrize(
        "pattern", ["a", "7", "a7", "/", "/a", "'", "\\", '"a', "-a ", "sudo ", "A=b ", ":", "1.", "a ", "f-", "é"]
    )
    def test_costs_little_when_hostile(self, column: str, pattern: str) -> None:
        """A value of 100 KB takes no longer than its first kilobyte: thousands of them do not stop the daemon."""
        value = (pattern * 100_000)[:100_000]
        begin = time.process_time()
        for _ in range(3):
            levels(column, value)
        assert time.process_time() - begin < 0.3  # a regular expression gone quadratic in 100 KB takes minutes


class TestPaths:
    """Files are told apart by where they are."""

    @pytest.mark.parametrize(
        ("value", "forms"),
        [
            ("/home/alice/src/main.c", ("in /home/alice/src/", "in /home/alice/")),
            (
                "/home/alice/src/x83f2a91.tmp",
                ("path /home/alice/src/x*.tmp", "in /home/alice/src/", "in /home/alice/"),
            ),
            ("/etc/passwd", ("in /etc/",)),
            ("/vmlinuz", ("in /",)),
            ("/", ("in /",)),
            ("/proc/4121/maps", ("path /proc/*/maps", "in /proc/*/")),
            (
                "/opt/3f2504e0-4f89-41d3-9a0c-0305e82c3301/a/b",
                ("path /opt/*/a/b", "in /opt/*/a/", "in /opt/*/"),
            ),
        ],
    )
    def test_general_forms(self, value: str, forms: tuple[str, ...]) -> None:
        """A path is masked, then its directory, then the directory's first two parts."""
        assert levels("path", value) == forms

    @given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=1, max_size=8))
    def test_each_form_holds_the_one_before(self, parts: list[str]) -> None:
        """The forms of a path are directories, each within the next."""
        value = "/" + "/".join(parts)
        directories = [form.removeprefix("in ") for form in levels("path", value)]
        assert directories
        for inner, outer in zip([value, *directories], directories, strict=False):
            assert inner.startswith(outer)


class TestCommands:
    """What was run, without what it was run on."""

    @pytest.mark.parametrize(
        ("value", "forms"),
        [
            ("git commit -m 'a message'", ("run git commit -m", "run git")),
            ("git commit --author=me -a", ("run git commit --author -a", "run git")),
            ("tar -x -C /srv file.tar", ("run tar -C -x", "run tar")),
            ("/usr/bin/ls", ("run ls",)),
            ("ls", ("run ls",)),
            ("LANG=C TZ=UTC sudo /sbin/ip route", ("run sudo ip route", "run sudo ip")),
            ("/opt/.x1234567/payload", ("run payload",)),
            ("echo 'unclosed", ("run echo",)),
            ("A=b", ()),
            ("   ", ()),
            ("", ()),
        ],
    )
    def test_general_forms(self, value: str, forms: tuple[str, ...]) -> None:
        """A command is its program, subcommand and options; then its program alone."""
        assert levels("command", value) == forms

    def test_the_order_of_options_is_no_matter(self) -> None:
        """The same options in another order, or twice, are the same command."""
        assert levels("command", "ls -l -a x") == levels("command", "ls -a -l -a y")

    def test_only_command_columns_hold_commands(self) -> None:
        """The same text is a command in each column that holds commands, and plain text elsewhere."""
        assert {levels(column, "git push --force") for column in COMMAND_COLUMNS} == {
            ("run git push --force", "run git")
        }
        assert levels("name", "git push --force") == ()


class TestOtherValues:
    """Numbers, addresses and text."""

    @pytest.mark.parametrize(
        ("value", "forms"),
        [
            ("0", ("number of 1 digits",)),
            ("51515", ("number of 5 digits",)),
            ("-40", ("negative number of 2 digits",)),
            ("3.75", ("number of 1 digits",)),
            ("10.20.30.40", ("net 10.20.30.0/24", "net private")),
            ("8.8.8.8", ("net 8.8.8.0/24", "net global")),
            ("127.0.0.1", ("net 127.0.0.0/24", "net loopback")),
            ("::1", ("net ::/48", "net loopback")),
            ("fe80::1%eth0", ("net fe80::/48", "net link_local")),
            ("2001:4860:4860::8888", ("net 2001:4860:4860::/48", "net global")),
            ("3C:52:82:0a:0b:0c", ("mac 3c:52:82",)),
            ("bash", ()),
            ("kworker/3", ("like kworker/*",)),
            ("a b c d", ("begins a b c",)),
            ("job 12 is now done", ("like job * is now done", "begins job * is")),
        ],
    )
    def test_general_forms(self, value: str, forms: tuple[str, ...]) -> None:
        """A number keeps its magnitude, an address its network, and a text its words less the random ones."""
        assert levels("value", value) == forms

    @given(st.ip_addresses())
    def test_addresses_share_their_network(self, address: object) -> None:
        """Every address has a network and a kind, most specific first."""
        network, kind = levels("remote_address", str(address))
        assert network.endswith(("/24", "/48"))
        assert "/" not in kind


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False, min_value=1e-3, max_value=1e9))
def test_numbers_are_numeric(number: float) -> None:
    """Whole numbers and decimals are numbers, and a letter behind them makes them names."""
    assert is_numeric(str(number))
    assert is_numeric(hex(int(abs(number))))
    assert not is_numeric(f"{number}v")
