"""The directory of models: versions, what they have learned, and nothing that should not be there."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from anomaly.advice import shell_word
from anomaly.errors import ModelRefused, StoreUnwritable, UnknownUser
from anomaly.model import UserModel
from anomaly.store import Store
from anomaly.store_layout import encode_user, holds_ours_alone


@pytest.fixture
def store(models: Path) -> Store:
    """Give a store with four versions of alice's model, of which the third is in use, and one of bob's."""
    store = Store(models)
    assert [store.save("alice", of(store)) for _ in range(3)] == [2, 3, 4]
    store.use("alice", 3)
    return store


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.lstat().st_mode)


def of(store: Store, user: str = "alice") -> UserModel:
    """Return a user's model."""
    stored = store.load(user)
    assert stored is not None
    return stored.model


def renamed(model: UserModel, user: str) -> UserModel:
    """Return another user's model."""
    card = msgspec.structs.replace(model.card, user=user)
    return UserModel(model.tokenizer, model.detector, model.fusion, model.calibration, card)


def refused(store: Store, user: str = "alice") -> str:
    """Return why a model is refused, and so is its card alone."""
    with pytest.raises(ModelRefused) as caught:
        store.load(user)
    with pytest.raises(ModelRefused) as again:
        store.card(user)
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def test_a_card_is_of_the_model_in_use(store: Store) -> None:
    """It is the card that the model has, it can be had alone, and who has no model has none."""
    assert store.card("bob") == of(store, "bob").card
    store.save("alice", renamed(of(store), "alice"))
    (store.directory / "alice" / "4.safetensors").write_bytes(b"damaged, and not in use")
    assert store.card("alice") == of(store).card
    assert store.card("mallory") is None
    (store.directory / "bob" / "1.safetensors").replace(store.directory / "alice" / "5.safetensors")
    store.use("alice", 5)
    assert "it belongs to 'bob'" in refused(store)


def test_a_card_is_believed_alone_and_the_rest_when_it_is_loaded(models: Path) -> None:
    """Damage beyond the card is met by loading; a card without a digest of its own by reading all there is."""
    file = models / "alice" / "1.safetensors"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert Store(models).card("alice") is not None
    with pytest.raises(ModelRefused, match="does not match its SHA-256"):
        Store(models).load("alice")
    file.write_bytes(good.replace(b"seal", b"xeal", 1))
    assert "does not match its SHA-256" in refused(Store(models))


def test_no_directory_is_an_empty_store(tmp_path: Path) -> None:
    """A directory that does not exist has no models, and asking makes none."""
    store = Store(tmp_path / "none")
    assert store.users() == []
    assert store.versions("alice") == []
    assert store.current("alice") is None
    assert store.load("alice") is None
    assert list(tmp_path.iterdir()) == []


def test_versions_go_up(store: Store) -> None:
    """Each save is a new version, the next number, and the one in use, whichever was before."""
    assert [store.versions(user) for user in store.users()] == [[1, 2, 3, 4], [1]]
    assert store.users() == ["alice", "bob"]
    assert store.save("alice", of(store)) == store.current("alice") == 5


def test_load_gives_the_one_in_use_or_the_one_asked_for(store: Store) -> None:
    """Loading gives the version in use unless told otherwise, and None for one that is not there."""
    found = [getattr(store.load("alice", version), "version", None) for version in (None, 1, 4, 5, 0, -1)]
    assert found == [3, 1, 4, None, None, None]
    assert store.load("mallory") is None


def test_rollback_goes_one_back_each_time(store: Store) -> None:
    """A rollback goes to the version before the one in use, until there is none."""
    assert [store.rollback("alice"), store.rollback("alice")] == [2, 1]
    assert store.current("alice") == 1
    with pytest.raises(UnknownUser, match="no version before 1"):
        store.rollback("alice")


def test_use_takes_only_what_is_there(store: Store) -> None:
    """A version that does not exist cannot be put in use, and what there is is said."""
    with pytest.raises(UnknownUser, match=r"no version 9\. There is: 1, 2, 3, 4\."):
        store.use("alice", 9)
    with pytest.raises(UnknownUser, match="no model of 'mallory'"):
        store.use("mallory", 1)
    assert store.current("alice") == 3


@pytest.mark.parametrize(
    ("used", "keep", "gone"),
    [(3, 1, [1, 2]), (3, 2, [1, 2]), (3, 3, [1]), (3, 4, []), (3, 9, []), (1, 1, [2, 3])],
)
def test_prune_keeps_the_newest_and_the_one_in_use(store: Store, used: int, keep: int, gone: list[int]) -> None:
    """Pruning deletes all but the newest and the one in use, however old that is."""
    store.use("alice", used)
    assert store.prune("alice", keep) == gone
    assert store.versions("alice") == [v for v in (1, 2, 3, 4) if v not in gone]
    assert store.current("alice") == used


def test_modes(tmp_path: Path, models: Path) -> None:
    """Directories are the owner's alone to enter and files the owner's alone to read, whatever the umask."""
    old = os.umask(0)
    try:
        Store(tmp_path / "new").save("bob", of(Store(models), "bob"))
    finally:
        os.umask(old)
    assert mode(tmp_path / "new") == mode(tmp_path / "new" / "bob") == 0o700
    files = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert {path.name: mode(path) for path in files} == dict.fromkeys(("1.safetensors", "current", ".lock"), 0o600)


def test_long_names_are_cut_with_a_hash(store: Store) -> None:
    """Names too long for a file differ by their hash, and come back whole."""
    long = ["x" * 5000, "x" * 5000 + "y", "é" * 60]
    for user in long:
        store.save(user, renamed(of(store), user))
    assert len({encode_user(user) for user in long}) == 3
    assert all(len(encode_user(user)) <= 120 for user in long)
    assert set(store.users()) == {"alice", "bob", *long}


@pytest.mark.parametrize(
    "name",
    ["../../x", "..", ".", "/etc/passwd", "a/b", "-rf", ".lock", "\0", "\x1b[31m", "", "%2E", "名", "x" * 9999],
)
def test_names_stay_inside(name: str, ocsvm_models: Path, tmp_path: Path) -> None:
    """A user's name is no path: its model comes back by the name, and nothing is written elsewhere."""
    store = Store(tmp_path / "home" / "models")
    assert store.save(name, renamed(of(Store(ocsvm_models)), name)) == 1
    store.write_learned(name, 1, "log.0", b"")
    found = store.load(name)
    assert found is not None
    assert found.model.card.user == name
    assert store.users() == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["models"]
    (inside,) = [path for path in store.directory.iterdir() if path.name != ".lock"]
    assert sorted(path.name for path in inside.iterdir()) == ["1.log.0.learned", "1.safetensors", "current"]


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("alice@ws1", "alice%40ws1"),
        ("host:a", "host%3Aa"),
        (".lock", "%2Elock"),
        ("a%2Fb", "a%252Fb"),
        ("é", "%C3%A9"),
    ],
)
def test_names_are_percent_encoded(user: str, name: str) -> None:
    """What is no letter, digit, dash or underscore is encoded, the percent sign too."""
    assert encode_user(user) == name


def test_a_model_under_another_name_is_refused(models: Path) -> None:
    """A model that was moved to another user's directory is not that user's."""
    (models / "bob").rename(models / "carol")
    assert "it belongs to 'bob'" in refused(Store(models), "carol")


def test_a_refusal_says_how_to_make_a_new_one(models: Path) -> None:
    """A refused model comes with the reason and the command that makes another."""
    file = models / "alice" / "1.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    reason = refused(Store(models))
    assert str(file) in reason
    assert "it is cut short" in reason
    assert "anomaly train --user alice" in reason


@pytest.mark.parametrize("content", [b"", b"99\n", b"../1", b"-1", b"1 2", "٣".encode(), b"\xff", b"1" * 5000])
def test_damaged_current(models: Path, content: bytes) -> None:
    """A ``current`` that names no version is refused, with the command that mends it."""
    (models / "alice" / "current").write_bytes(content)
    assert "anomaly models rollback --user alice --to" in refused(Store(models))
    Store(models).use("alice", 1)
    assert Store(models).current("alice") == 1


def test_missing_current_is_the_newest(store: Store) -> None:
    """Without ``current`` the newest version is in use."""
    (store.directory / "alice" / "current").unlink()
    assert store.current("alice") == 4


def test_what_was_learned_goes_with_its_version(store: Store) -> None:
    """What a version has learned is read by its name, is no version, and is deleted with it."""
    for version in (1, 2, 4):
        store.write_learned("alice", version, "log.0", b"%d" % version)
    store.write_learned("alice", 1, "other.1", b"")
    assert store.versions("alice") == [1, 2, 3, 4]
    assert store.learned("alice", 1) == ["log.0", "other.1"]
    assert [store.read_learned("alice", version, "log.0") for version in (1, 2, 3)] == [b"1", b"2", None]
    assert [store.has_learned("alice", 1, name) for name in ("log", "lo", "other", "none")] == [True, False] * 2
    assert store.prune("alice", 2) == [1, 2]
    assert [store.learned("alice", version) for version in (1, 2, 4)] == [[], [], ["log.0"]]
    assert [store.forget_learned("alice", 4), store.forget_learned("alice", 4)] == [1, 0]
    assert store.load("alice", 4) is not None
    assert [store.learned("mallory", 1), store.read_learned("mallory", 1, "log.0")] == [[], None]
    with pytest.raises(UnknownUser):
        store.write_learned("mallory", 1, "log.0", b"")


def test_a_background_is_no_user(models: Path, tmp_path: Path) -> None:
    """What everyone does is one file beside the users; it may be missing, and is refused where it is damaged."""
    store, other = Store(models), Store(tmp_path / "other")
    background = store.load_background()
    assert background is not None
    assert other.load_background() is None
    other.save_background(background)
    assert other.load_background() is not None
    assert other.users() == []
    (models / "background.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelRefused, match="anomaly train --all-users"):
        store.load_background()


def test_a_failed_write_leaves_the_old_model(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves what was there, and no half of a file."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in (store.directory / "alice").iterdir())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnwritable, match="No space left on device"):
        store.save("alice", of(store))
    assert sorted(path.name for path in (store.directory / "alice").iterdir()) == before
    assert store.current("alice") == 3


@pytest.mark.parametrize("place", [".", "alice", "alice/1.safetensors", "alice/current"])
@pytest.mark.parametrize("bits", [0o002, 0o020])
def test_what_others_can_write_is_refused(
    models: Path, place: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory or file that everybody or a shared group can write is refused, with what mends it."""
    monkeypatch.setattr("anomaly.trust._private_group", lambda _gid, _uid: False)
    path = models / place
    path.chmod(mode(path) | bits)
    said = refused(Store(models))
    every = "-R " if path.is_dir() else ""  # else the next file would be met at the next try
    assert said.partition(" Make a new one")[0].endswith(
        f" If what is in it is yours, run: chown {every}$(id -un) {path} && chmod {every}go-w {path}"
    )


def test_what_mends_the_store_mends_all_of_it(models: Path, tmp_path: Path) -> None:
    """Directories and files in it are met at once; through a link it is the directory and not the link."""
    link = tmp_path / "the link"
    link.symlink_to(models)
    for path in (models, models / "alice", models / "alice/1.safetensors"):
        path.chmod(0o777)
    command = refused(Store(link)).partition(", run: ")[2].partition(" Make a new one")[0]
    assert command == f"chown -R $(id -un) '{link}/' && chmod -R go-w '{link}/'"
    subprocess.run(["sh", "-c", command], check=True)
    assert Store(link).load("alice") is not None


@pytest.mark.parametrize("name", ["notes.txt", "alice/notes.txt", "bin/x/1.safetensors"])
def test_what_is_not_ours_is_not_given_away(models: Path, name: str) -> None:
    """Where anything else is in the directory that was named, the command is for that directory alone."""
    assert holds_ours_alone(models)
    (models / name).parent.mkdir(parents=True, exist_ok=True)
    (models / name).touch()
    assert not holds_ours_alone(models)
    models.chmod(0o777)
    assert refused(Store(models)).endswith(f"run: chown $(id -un) {models} && chmod go-w {models}")


def test_what_has_another_name_is_not_given_away(models: Path, tmp_path: Path) -> None:
    """Neither a link nor a file that is somewhere else, too, whatever its name here; nor what cannot be read."""
    (tmp_path / "shadow").touch()
    (models / "alice/9.safetensors").hardlink_to(tmp_path / "shadow")
    assert not holds_ours_alone(models)
    (models / "alice/9.safetensors").unlink()
    (models / "alice/9.safetensors").symlink_to(tmp_path / "shadow")
    assert not holds_ours_alone(models)
    assert not holds_ours_alone(tmp_path / "none")


def test_a_private_group_may_write(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories that only the owner's own group can write are as good as the owner's."""
    monkeypatch.setattr("anomaly.trust._private_group", lambda _gid, _uid: True)
    models.chmod(0o770)
    assert Store(models).load("alice") is not None


@pytest.mark.parametrize("place", ["alice", "alice/1.safetensors", "alice/current"])
def test_links_are_refused(models: Path, tmp_path: Path, place: str) -> None:
    """Nothing within the store may be a symbolic link."""
    path = models / place
    path.rename(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    refused(Store(models))
    assert (tmp_path / "real").exists()


def test_the_store_itself_may_be_a_link(models: Path, tmp_path: Path) -> None:
    """The directory of models may be a link: systemd makes its StateDirectory one."""
    (tmp_path / "link").symlink_to(models)
    assert Store(tmp_path / "link").load("alice") is not None


@pytest.mark.parametrize("place", ["alice/1.safetensors", "alice/current"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(models: Path, place: str, make: Callable[[Path, int], None]) -> None:
    """A FIFO or a directory in place of a file is refused at once: nothing waits for a writer."""
    path = models / place
    path.unlink()
    make(path, 0o700)
    assert "no regular file" in refused(Store(models))


def test_a_file_in_place_of_a_user_is_refused(models: Path) -> None:
    """A file where a user's directory should be is refused, by writing too."""
    (models / "carol").write_bytes(b"")
    with pytest.raises(ModelRefused):
        Store(models).save("carol", of(Store(models)))
    refused(Store(models), "carol")


def test_too_large_a_file_is_not_read(models: Path) -> None:
    """A file larger than any model is refused before it is read."""
    with (models / "alice" / "1.safetensors").open("r+b") as file:
        file.truncate(1 << 40)
    assert "larger than a model can be" in refused(Store(models))


def test_other_files_are_no_versions(models: Path) -> None:
    """Only plain numbers are versions."""
    names = "0.safetensors 02.safetensors x.safetensors .3.safetensors.77 1e3.safetensors 5 6.log.0.learned"
    for name in names.split():
        (models / "alice" / name).write_bytes(b"")
    assert Store(models).versions("alice") == [1]


@pytest.mark.parametrize("name", [b"%FF", b"\xff"])
def test_directories_that_name_nobody_crash_nothing(models: Path, name: bytes) -> None:
    """A directory whose name is no encoded user is refused or passed over; it does not crash the list of users."""
    folder = models / os.fsdecode(name)
    folder.mkdir(0o700)
    (folder / "1.safetensors").write_bytes(b"")
    try:
        assert set(Store(models).users()) >= {"alice", "bob"}
    except ModelRefused:
        return


def test_commands_can_be_pasted() -> None:
    """A name in a command that an error proposes is quoted, and shows no control character."""
    assert shell_word("$(reboot)") == "'$(reboot)'"
    assert shell_word("a'b\n") == r"$'a\'b\n'"
