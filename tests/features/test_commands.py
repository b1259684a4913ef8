from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.features.commands import (
    MAX_ARGUMENTS,
    MAX_COMMANDS,
    MAX_LINE,
    MAX_WORD,
    WRAPPERS,
    command_tokens,
    kind_of,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))
WORDS = st.lists(
    st.sampled_from(
        (
            *("|", "||", "&&", ";", "\n", "sudo", "env", "A=1", "-u", "--x=y", "'", '"', "\\", ">", "2>&1", "<<<"),
            *("/", "/etc/shadow", "ls", "$(", ")", "&", "#", "\0", "\udc80", " ", "10.0.0.1", "~", "x@y", "="),
        )
    ),
    max_size=60,
)
LINES = ANY_TEXT | WORDS.map(" ".join) | WORDS.map("".join)


def test_command_tokens_simple_command_has_tokens_at_each_level() -> None:
    """A command is its program, with its first plain argument, its options, its arguments and their kinds."""
    found = command_tokens("git commit -a --author=me -m fix")
    assert found.programs == ("git",)
    assert found.subcommands == ("git commit",)
    assert found.options == ("git -a", "git --author", "git -m")
    assert found.arguments == ("commit", "fix")
    assert found.kinds == ("git word option word",)


@pytest.mark.parametrize("operator", ["|", "||", "&&", ";", "\n"])
@pytest.mark.parametrize("space", ["", " ", "  "])
def test_command_tokens_list_is_cut_into_commands(operator: str, space: str) -> None:
    """A pipe or a list is its commands, and which two follow each other, whatever the spaces."""
    found = command_tokens(f"cat a{space}{operator}{space}sort -n")
    assert found.programs == ("cat", "sort")
    assert found.options == ("sort -n",)
    assert found.kinds == ("cat word", "sort option", f"cat {operator} sort")


def test_command_tokens_empty_commands_are_skipped() -> None:
    """An operator without a command on both sides joins nothing."""
    assert command_tokens("| ls ;; ps |").programs == ("ls", "ps")
    assert command_tokens("| ls ;; ps |").kinds == ("ls", "ps")


@pytest.mark.parametrize("line", ["", " ", ";", "| |", "\n\n"])
def test_command_tokens_blank_line_has_none(line: str) -> None:
    """A line that runs nothing has no token."""
    assert command_tokens(line) == ((), (), (), (), ())


@pytest.mark.parametrize("wrapper", sorted(WRAPPERS))
def test_command_tokens_wrapper_is_a_program_beside_the_one_it_runs(wrapper: str) -> None:
    """Both are programs, the arguments are the wrapped program's, and the wrapper's path does not matter."""
    for line in (f"{wrapper} cat x", f"/usr/bin/{wrapper} /bin/cat x", f"{wrapper} -Z cat x"):
        found = command_tokens(line)
        assert found.programs == (wrapper, "cat")
        assert found.subcommands == ("cat x",)


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ("sudo -u postgres psql", "sudo -u", "postgres"),
        ("sudo --user postgres psql", "sudo --user", "postgres"),
        ("nice -n 10 psql", "nice -n", "10"),
        ("xargs -I {} psql", "xargs -I", "{}"),
        ("env -u LANG psql", "env -u", "LANG"),
    ],
)
def test_command_tokens_value_of_a_wrapper_option_is_no_program(line: str, option: str, value: str) -> None:
    """The word after an option that takes a value is an argument, and the program comes behind it."""
    found = command_tokens(line)
    assert found.programs == (line.split(maxsplit=1)[0], "psql")
    assert found.options == (option,)
    assert found.arguments == (value,)


def test_command_tokens_nested_wrappers_are_all_programs() -> None:
    """Wrappers may run wrappers."""
    assert command_tokens("sudo -E nohup env A=1 nice -n 5 make all").programs == (
        *("sudo", "nohup", "env", "nice", "make"),
    )
    assert command_tokens("sudo").programs == ("sudo",)
    assert command_tokens("sudo -u").programs == ("sudo",)


def test_command_tokens_assignment_is_its_name() -> None:
    """A variable set for a command is told by its name; its value, perhaps a password, is no token."""
    found = command_tokens("TOKEN=s3cret LANG=C curl x && PW=s3cret ls")
    assert found.programs == ("curl", "ls")
    assert found.kinds == ("TOKEN=", "LANG=", "curl word", "PW=", "ls", "curl && ls")
    assert not any("s3cret" in token for tokens in found for token in tokens)
    assert command_tokens("env TOKEN=s3cret curl x").options == ("env TOKEN",)
    assert command_tokens("A=1").programs == ()


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ("cat a > /tmp/x", "cat word > temporary"),
        ("cat a >/tmp/x", "cat word > temporary"),
        ("echo k >> ~/.ssh/authorized_keys", "echo word >> startup"),
        ("echo k >>~/.ssh/authorized_keys", "echo word >> startup"),
        ("make 2>&1", "make 2>&1"),
        ("make 2>/dev/null", "make 2> device"),
        ("make &>log.txt", "make &> file"),
        ("sh <<EOF", "sh << word"),
        ("sh <<< x", "sh <<< word"),
        ("sh < x", "sh < word"),
    ],
)
def test_command_tokens_redirection_is_in_the_kinds(line: str, kinds: str) -> None:
    """A redirection is itself and the kind of what it goes to, with or without a space between."""
    assert " ".join(command_tokens(line).kinds).split() == kinds.split()


@pytest.mark.parametrize(
    "line", ["echo 'open", 'echo "open', "echo open\\", "echo $(open", "echo `open", "echo {a"]
)
def test_command_tokens_unclosed_quote_is_text(line: str) -> None:
    """Quotes and parentheses that are not closed are parts of words."""
    found = command_tokens(line)
    assert found.programs == ("echo",)
    assert found.arguments == (line.removeprefix("echo "),)


def test_command_tokens_equal_tokens_count_once() -> None:
    """A token comes once at its level, in the order of the line."""
    found = command_tokens("ls -l a -l a; ls -l a a")
    assert found.programs == ("ls",)
    assert found.options == ("ls -l",)
    assert found.arguments == ("a",)


def test_command_tokens_path_of_a_program_does_not_matter() -> None:
    """A program is its file's name."""
    assert command_tokens("/opt/x/ls -l") == command_tokens("ls -l")
    assert command_tokens("/ x").programs == ("/",)


def test_command_tokens_stop_at_their_limits() -> None:
    """MAX_COMMANDS commands of MAX_ARGUMENTS arguments count, in the first MAX_LINE characters."""
    assert command_tokens(";".join(f"c{n}" for n in range(50))).programs == tuple(
        f"c{n}" for n in range(MAX_COMMANDS)
    )
    arguments = command_tokens("ls " + " ".join(f"a{n}" for n in range(50))).arguments
    assert arguments == tuple(f"a{n}" for n in range(MAX_ARGUMENTS))
    assert command_tokens("ls" + " " * MAX_LINE + "x").arguments == ()
    assert command_tokens("x" * 500 + " -" + "y" * 500).programs == ("x" * MAX_WORD,)


@settings(deadline=None)
@given(LINES)
def test_command_tokens_any_line_is_bounded(line: str) -> None:
    """No line raises, and neither the number nor the length of its tokens grows with it."""
    found = command_tokens(line)
    assert sum(map(len, found)) <= MAX_LINE
    for tokens in found:
        assert len(set(tokens)) == len(tokens)
        assert all(0 < len(token) <= MAX_ARGUMENTS * 2 * MAX_WORD for token in tokens)
        assert not any("\t" in token for token in tokens)  # a separator of features
    assert command_tokens(line[:MAX_LINE]) == found


@settings(deadline=None)
@given(WORDS, st.sampled_from((" ", "  ", "\t")))
def test_command_tokens_spaces_do_not_matter(words: list[str], space: str) -> None:
    """Words that are further apart are the same command."""
    line = " ".join(words)
    if len(line) * len(space) < MAX_LINE:
        assert command_tokens(line.replace(" ", space)) == command_tokens(line)


@pytest.mark.parametrize(
    "pattern",
    [
        " ",
        "\n",
        " ;",
        ";",
        "|",
        "a",
        "a ",
        "A=1 ",
        "sudo ",
        "sudo -u ",
        "-x ",
        "/",
        "1.",
        ":",
        ">",
        "2>",
        "'",
        "\0",
    ],
)
def test_command_tokens_hostile_line_takes_little_time(pattern: str) -> None:
    """A line of 100 kB takes a fraction of a millisecond."""
    line = (pattern * 100_000)[:100_000]
    begin = time.process_time()
    for _ in range(100):
        command_tokens(line)
    assert time.process_time() - begin < 0.3  # a regular expression gone quadratic in 1 kB takes 5 ms a line


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("option", ["-l", "--all", "--x=/etc/shadow", "-", "--"]),
        ("url", ["http://x/y", "git+ssh://x"]),
        ("variable", ["$HOME", "$(id)", "${X}/a"]),
        ("address", ["10.0.0.1", "10.0.0.0/8", "10.0.0.1:80", "fe80::1", "::1"]),
        ("number", ["7", "1.5", "10:30", "2024-01-02", "50%", "+3", "0,1"]),
        ("remote", ["alice@ws1", "{user}@{host}:/x", "ws1:/srv", "ws1:~/x"]),
        ("string", ["'a", '"a"']),
        ("credentials", ["/etc/shadow", "/etc/passwd", "/etc/sudoers.d/x", "~/.ssh/id_rsa", "~/.aws/credentials"]),
        (
            "startup",
            ["~/.ssh/authorized_keys", "/etc/crontab", "/etc/systemd/system/x", "~/.bashrc", "/etc/ld.so.preload"],
        ),
        ("history", ["~/.bash_history", "/var/log/auth.log", "/var/run/utmp"]),
        ("temporary", ["/tmp/x", "/var/tmp", "/dev/shm/x"]),  # noqa: S108 - values of a log
        ("device", ["/dev/null", "/proc/1/maps", "/sys/x"]),
        ("system", ["/etc/hosts", "/usr/bin/ls", "/sbin/x", "/var/lib/x", "/opt/x"]),
        ("home", ["~", "~/src", "~other/x", "~root"]),
        ("path", ["/", "/srv/x", "./x", "../x", "src/a", "/1/"]),
        ("file", ["a.py", "x.tar.gz"]),
        ("word", ["status", "", ".", "..", "all", "a=b", "日本"]),
        (">", [">"]),
        ("2>&1", ["2>&1"]),
        (">> credentials", [">>/etc/passwd"]),
        ("< word", ["<x"]),
    ],
)
def test_kind_of_word_is_in_the_taxonomy(kind: str, words: list[str]) -> None:
    """An argument's kind says what it is for."""
    assert {word: kind_of(word) for word in words} == dict.fromkeys(words, kind)


@settings(deadline=None)
@given(ANY_TEXT)
def test_kind_of_any_word_is_short(word: str) -> None:
    """Any word has a kind, whose length does not grow with the word."""
    assert 0 < len(kind_of(word[:MAX_WORD])) <= MAX_WORD + len(" credentials")


@pytest.mark.parametrize("pattern", ["a", "1", "1.", ":", "a:", "/", ".", ">", "2", "a@", "~", "/etc/", "-"])
def test_kind_of_hostile_word_takes_linear_time(pattern: str) -> None:
    """A word of 1 MB has a kind in a fraction of a second."""
    begin = time.process_time()
    kind_of((pattern * 1_000_000)[:1_000_000])
    assert time.process_time() - begin < 2.0
