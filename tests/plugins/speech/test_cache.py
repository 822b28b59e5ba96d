import os
import time
from pathlib import Path

import pytest
from torchprobe_speech.cache import cache_folder, make_folder


def test_the_environment_names_the_cache(monkeypatch):
    monkeypatch.setenv("TORCHPROBE_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("TORCHPROBE_CACHE")
    assert cache_folder() == Path("/shared/torchprobe")


@pytest.mark.parametrize(
    ("platform", "place"),
    [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")],
)
def test_without_the_environment_the_system_does(monkeypatch, platform, place):
    for name in ("TORCHPROBE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("pathlib.Path.home", lambda: Path("/home/me"))
    assert cache_folder() == Path("/home/me") / place / "torchprobe"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_ends_the_filling_leaves_nothing(tmp_path, error):
    def fill(folder):
        (folder / "first").write_text("half of it")
        raise error

    with pytest.raises(error):
        make_folder(tmp_path / "made", fill)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_appears_only_when_it_is_full(tmp_path):
    target = tmp_path / "deep" / "made"

    def fill(folder):
        (folder / "first").write_text("1")
        assert not target.exists()

    make_folder(target, fill)
    assert [path.name for path in target.iterdir()] == ["first"]
    assert list(target.parent.iterdir()) == [target]


def test_the_folder_of_a_faster_process_stays(tmp_path):
    target = tmp_path / "made"

    def fill(folder):
        (folder / "mine").touch()
        target.mkdir()
        (target / "theirs").touch()

    make_folder(target, fill)
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path):
    old, young = tmp_path / ".made-old", tmp_path / ".made-young"
    for folder in (old, young):
        folder.mkdir()
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    make_folder(tmp_path / "made", lambda folder: None)
    assert not old.exists()
    assert young.exists()
