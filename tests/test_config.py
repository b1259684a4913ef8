from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from anomaly import config
from anomaly.config import default_directory, load
from anomaly.errors import ConfigError

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "conf" / "anomaly.toml"


def refused(path: Path, text: str) -> str:
    """Return why a file with this text is refused."""
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the path of a file that is not there yet."""
    return tmp_path / "anomaly.toml"


def test_settings_that_are_there(file: Path) -> None:
    """A file makes the settings that it names and no others."""
    file.write_text('algorithm = "OCSVM"\nmin_score = 20\n')
    assert load(file) == {"algorithm": "OCSVM", "min_score": 20}
    file.write_text("")
    assert load(file) == {}


def test_a_misspelt_setting_is_an_error_with_a_suggestion(file: Path) -> None:
    """A setting that does not exist is no silence: the nearest that does is proposed, or all are listed."""
    assert "unknown key 'algoritm'. Did you mean 'algorithm'?" in refused(file, 'algoritm = "LSTM"')
    reason = refused(file, "[daemon]\nx = 1")
    known = "adapt, alert_on, alerts, algorithm, budget, format, log, max_line and 6 more."
    assert f"unknown key 'daemon'. There is: {known}" in reason


@pytest.mark.parametrize(
    "text",
    [
        "min_score = 'high'",
        "min_score = true",
        "min_score = 101",
        "min_score = nan",
        "log = 3",
        "log = ''",
        "models = ['a']",
        "format = 'xml'",
        "format = 3",
        "max_line = 3",
        "algorithm = 'SVM'",
        "alert_on = 'none'",
        "budget = 0",
        "budget = inf",
        "suppressions = true",
        "alerts = 'text'",
        "metrics = '9477'",
        "metrics = 'localhost:65536'",
        "metrics = 'textfile:'",
    ],
)
def test_a_value_that_does_not_fit_is_an_error(file: Path, text: str) -> None:
    """A value of the wrong type, or outside the choices, is an error that names the setting."""
    reason = refused(file, text)
    assert f"does not fit: {text.partition(' ')[0]}: " in reason
    assert "$" not in reason


def test_a_value_that_is_no_choice_is_met_with_what_there_is(file: Path) -> None:
    """The values are named as the file writes them, or the nearest of them."""
    assert refused(file, "format = 'xml'").endswith("format: there is no 'xml'. There is: ecs, json, text.")
    assert refused(file, "alert_on = 'notic'").endswith("alert_on: there is no 'notic'. Did you mean 'notice'?")
    assert refused(file, "min_score = 101").endswith("min_score: expected `float` <= 100.0.")


@pytest.mark.parametrize(
    "text",
    [
        "min_score = 20",
        "format = 'ecs'",
        "algorithm = 'lstm'",
        "alert_on = 'critical'",
        "budget = 0.5",
        "suppressions = '~/s.toml'",
        "alerts = ['text', 'file:/var/log/a b.ndjson']",
        "metrics = '[::1]:9477'",
        "metrics = 'textfile:/run/anomaly.prom'",
    ],
)
def test_a_value_that_fits_is_taken(file: Path, text: str) -> None:
    """What is of its type and within its range is taken as it is."""
    file.write_text(text)
    assert load(file) == tomllib.loads(text)


def test_an_address_of_alerts_is_some_text(file: Path) -> None:
    """An empty address, and more of them than anybody has, are errors."""
    assert "alerts[1]: expected" in refused(file, "alerts = ['a', '']")
    assert "alerts: expected" in refused(file, f"alerts = {['a'] * 33}")


def test_a_misspelt_algorithm_is_met_with_the_nearest(file: Path) -> None:
    """As for keys: the nearest is proposed."""
    assert "there is no algorithm 'OCVSM'. Did you mean 'OCSVM'?" in refused(file, "algorithm = 'OCVSM'")


def test_what_is_no_toml_is_an_error(file: Path) -> None:
    """Text that is no TOML, or no UTF-8, is an error."""
    assert "not valid TOML" in refused(file, "algorithm: LSTM")
    file.write_bytes(b'log = "\xff"')
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(file)


def test_a_missing_file_is_an_error(file: Path) -> None:
    """A file asked for that cannot be read is an error with the system's reason."""
    with pytest.raises(ConfigError, match=r"cannot be read: there is no such file\.$"):
        load(file)
    with pytest.raises(ConfigError, match=r"cannot be read: it is no regular file\.$"):
        load(file.parent)


def test_a_file_of_settings_has_a_bound(file: Path) -> None:
    """One of exactly the bound is read; of a larger one nothing is."""
    file.write_bytes(b"#" * config.MOST_BYTES)
    assert load(file) == {}
    file.write_bytes(b"#" * (config.MOST_BYTES + 1))
    with pytest.raises(ConfigError, match=r"cannot be read: it is larger than 1,024 KiB\.$"):
        load(file)


def test_the_sample_file_is_true() -> None:
    """The file in conf/ sets nothing as it is, and shows every setting there is."""
    assert load(SAMPLE) == {}


def test_every_setting_of_the_sample_file_exists(file: Path) -> None:
    """With every comment sign removed, the sample file is accepted, and its values are the defaults."""
    file.write_text(re.sub(r"(?m)^# (?=\w+ = )", "", SAMPLE.read_text()))
    values = load(file)
    assert set(values) == set(config.Settings.__struct_fields__)
    assert values["log"] == config.DEFAULT_LOG
    assert values["metrics"] in (ROOT / "docs" / "monitoring.md").read_text()
    assert (values["algorithm"], values["format"], values["min_score"]) == ("BOTH", "text", 0)


def test_directories_in_a_checkout() -> None:
    """In a checkout models and checkpoints lie in the checkout."""
    assert default_directory("models") == Path(config.__file__).parents[1] / "models"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/anomaly"}, "/var/lib/anomaly/state"),
        ({"STATE_DIRECTORY": "/var/lib/anomaly:/var/lib/more"}, "/var/lib/anomaly/state"),
        ({"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/home/a/.state"}, "/home/a/.state/anomaly/state"),
    ],
)
def test_directories_of_an_installation(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Installed, they lie in systemd's StateDirectory, else in the user's state directory."""
    (tmp_path / "anomaly").mkdir()
    monkeypatch.setattr(config, "__file__", shutil.copy(config.__file__, tmp_path / "anomaly"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_directory("state") == Path(expected)
