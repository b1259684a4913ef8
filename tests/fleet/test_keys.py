"""Keys are named as local training names users, and dealt out so that nobody is waited for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anomaly.fleet.keys import Actor, Key, Rule, crowd, deal, name
from anomaly.fleet.reading import MODEL, keys_by


def actor(host: str, user: str, actions: int = 600, first: int = 0) -> Actor:
    """Give what somebody did."""
    return Actor(host, user, actions, actions, (0, 0, first, 0))


def names(found: list[Key]) -> dict[str, int]:
    """Give the actions of each key."""
    return {key.name: key.actions for key in found}


def test_the_local_rule_adds_hosts_only_where_one_name_has_several() -> None:
    """A stray line of another host renames nobody."""
    found = [actor("ws1", "alice"), actor("ws2", "alice", 3), actor("ws1", "bob"), actor("ws2", "bob", 700)]
    assert names(name(found, Rule.LOCAL)) == {"alice": 600, "alice@ws2": 3, "bob@ws1": 600, "bob@ws2": 700}


def test_of_equals_the_first_in_the_log_keeps_the_plain_name() -> None:
    """As for a reader that reads alone, whatever order Spark counts in."""
    found = [actor("ws2", "alice", 7, first=2), actor("ws1", "alice", 7, first=1)]
    assert list(names(name(found, Rule.LOCAL))) == ["alice", "alice@ws2"]
    assert name(found, Rule.LOCAL) == name(found[::-1], Rule.LOCAL)


def test_actions_are_put_by_time_only_where_they_have_no_other_order() -> None:
    """On several hosts, or in several partitions of a topic."""
    alice = actor("ws1", "alice")
    assert not Key("alice", (alice,)).by_time
    assert Key("alice", (alice._replace(scattered=True),)).by_time
    assert Key("alice", (alice, actor("ws2", "alice"))).by_time


def test_a_key_may_always_have_its_host_or_never() -> None:
    """A machine's own rows keep their name, which has the host in it."""
    found = [actor("ws1", "alice"), actor("ws2", "alice", 3), actor("ws1", "host:ws1")]
    assert names(name(found, Rule.HOST)) == {"alice@ws1": 600, "alice@ws2": 3, "host:ws1": 600}
    assert names(name(found, Rule.USER)) == {"alice": 603, "host:ws1": 600}


def test_two_users_never_share_a_model() -> None:
    """Names that were made up to be another's key are written so that they are none."""
    found = [actor("c", "a@b", 900), actor("b@c", "a", 600), actor("x", "a%40b", 600)]
    assert list(names(name(found, Rule.HOST))) == ["a%2540b@x", "a%40b@c", "a@b%40c"]
    stranger = [actor("web", "alice"), actor("db", "alice"), actor("..", "alice@web")]
    assert list(names(name(stranger, Rule.LOCAL))) == ["alice%40web", "alice@db", "alice@web"]
    assert list(names(name(stranger, Rule.USER))) == ["alice", "alice%40web"]


def test_who_is_called_like_a_machine_elsewhere_is_not_that_machine() -> None:
    """By whatever rule; rows of a host that name nobody are that host's alone."""
    found = [actor("web", "host:web"), actor("evil", "host:web", 9000), actor("web@x", "host:web@x")]
    for rule in Rule:
        assert names(name(found, rule)) == {"host:web": 600, "host:web@evil": 9000, "host:web%40x": 600}


_NAMES = st.lists(st.sampled_from(["a", "@", "%", "host:", "%40"]), max_size=4).map("".join)


@given(st.dictionaries(st.tuples(_NAMES, _NAMES), st.integers(1, 2000), max_size=8), st.sampled_from(Rule))
def test_scoring_finds_for_everyone_the_model_that_training_made(
    found: dict[tuple[str, str], int], rule: Rule
) -> None:
    """And no two users of hosts have one key, unless one name over all hosts was asked for."""
    actors = [actor(host, user, count) for (host, user), count in found.items()]
    made = name(actors, rule)
    finds = keys_by(rule.value, [key.name for key in made])
    assert sorted(one for key in made for one in key.actors) == sorted(actors)
    for key in made:
        assert {finds(one.host, one.user) for one in key.actors} == {f"{MODEL}{key.name}"}
        assert len(key.actors) == 1 or rule is Rule.USER


@given(st.lists(st.integers(500, 10**6), min_size=1, max_size=60), st.integers(1, 20))
def test_parts_are_even_and_the_fullest_comes_first(sizes: list[int], most: int) -> None:
    """No part has more than the largest key and its share together."""
    chosen = [Key(f"u{n}", (actor("h", f"u{n}", size),)) for n, size in enumerate(sizes)]
    dealt = deal(chosen, most)
    loads = [
        sum(key.actions for key in chosen if dealt[key.name] == part) for part in range(min(len(sizes), most))
    ]
    assert len(dealt) == len(sizes)
    assert loads == sorted(loads, reverse=True)
    assert loads[-1] > 0
    assert max(loads) <= max(sizes) + sum(sizes) / len(loads)


def test_who_has_half_of_all_is_begun_first_and_alone() -> None:
    """Others are not waiting behind a service account."""
    chosen = [Key(user, (actor("h", user, size),)) for user, size in (("a", 500), ("root", 9000), ("b", 600))]
    assert deal(chosen, 2) == {"root": 0, "b": 1, "a": 1}


def test_the_background_is_of_a_uniform_sample() -> None:
    """The same for the same seed, another for another, nobody twice, and no machine in it."""
    chosen = [Key(f"u{n}", (actor("h", f"u{n}"),)) for n in range(1000)]
    chosen += [Key("host:h", (actor("h", "host:h"),)), Key("new", (Actor("h", "new", 900, 400, (0,)),))]
    drawn = crowd(chosen, 1)
    assert drawn == crowd(chosen[::-1], 1)
    assert len({key.name for key in drawn}) == 200
    assert not {key.name for key in drawn} & {"host:h", "new"}
    assert drawn != crowd(chosen, 2)
    assert 60 <= sum(int(key.name[1:]) < 500 for key in drawn) <= 140
    assert len(crowd(chosen[:5], 1)) == 5
