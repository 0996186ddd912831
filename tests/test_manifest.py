"""Fingerprints, atomic folders and what the disk may refuse."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from pediatricsgpt import manifest
from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import FileHashes, Manifest


def _manifest(fingerprint: str = "f") -> Manifest:
    return Manifest("node", fingerprint, "content", {}, {}, "code", 1)


def _finish(folder: Path, text: str) -> None:
    partial = manifest.begin(folder, manifest.Begun("f"))
    (partial / "data").write_text(text)
    manifest.finish(folder, _manifest())


def test_a_folder_without_manifest_is_not_done(tmp_path: Path) -> None:
    manifest.begin(tmp_path / "node", manifest.Begun("f"))
    assert manifest.read_manifest(tmp_path / "node") is None


def test_finish_replaces_an_older_result_whole(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    _finish(folder, "old")
    _finish(folder, "new")
    assert (folder / "data").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    _finish(folder, "old")
    folder.rename(tmp_path / "node.old")
    manifest.recover(folder)
    assert (folder / "data").read_text() == "old"


def test_a_kill_after_both_renames_leaves_the_new_result(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    _finish(folder, "old")
    folder.rename(tmp_path / "node.old")
    _finish(folder, "new")
    manifest.recover(folder)
    assert (folder / "data").read_text() == "new"
    assert not (tmp_path / "node.old").exists()


def test_a_full_disk_at_the_manifest_keeps_the_finished_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "node"
    partial = manifest.begin(folder, manifest.Begun("f"))
    (partial / "weights").write_text("hours of work")

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write_atomically", full)
        with pytest.raises(OSError, match="No space"):
            manifest.finish(folder, _manifest())
    assert (manifest.begin(folder, manifest.Begun("f")) / "weights").read_text() == "hours of work"


def test_a_kill_after_the_manifest_is_finished_by_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    _finish(folder, "old")
    partial = manifest.begin(folder, manifest.Begun("f"))
    (partial / "data").write_text("new")
    (partial / "manifest.json").write_text((folder / "manifest.json").read_text())
    manifest.recover(folder)
    assert (folder / "data").read_text() == "new"
    assert sorted(path.name for path in folder.iterdir()) == ["data", "manifest.json"]
    assert not partial.exists()


def test_a_text_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    manifest.write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        manifest.write_atomically(file, "\ud800")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_many_processes_write_at_once_is_always_one_of_theirs(tmp_path: Path) -> None:
    file = tmp_path / "file"
    program = (
        "import sys, pathlib\nfrom pediatricsgpt.manifest import write_atomically\n"
        "for _ in range(100):\n    write_atomically(pathlib.Path(sys.argv[1]), sys.argv[2] * 300_000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(file), letter]) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if file.exists():
            seen.add(file.read_text())
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert {text[0] * 300_000 for text in seen} == seen
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_kill_left_half_written_is_no_part_of_the_result_and_goes(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    partial = manifest.begin(folder, manifest.Begun("f"))
    (partial / "data").write_text("x")
    before = manifest.hash_folder(partial)
    (partial / "data.0123abcd.partial").write_text("ha")
    assert manifest.hash_folder(partial) == before
    manifest.finish(folder, _manifest())
    assert sorted(path.name for path in folder.iterdir()) == ["data", "manifest.json"]


@pytest.mark.parametrize("damaged", ["[", "[]", "7", "\x00"])
def test_a_damaged_store_of_hashes_is_made_anew(tmp_path: Path, damaged: str) -> None:
    store, file = tmp_path / "store", tmp_path / "source"
    store.write_text(damaged)
    file.write_text("one")
    hashes = FileHashes(store)
    assert hashes(file) == manifest.hash_file(file)
    hashes.save()
    assert FileHashes(store)._known == hashes._known


def test_reading_sees_a_replacement_that_was_killed_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    _finish(folder, "old")
    folder.rename(tmp_path / "node.old")
    assert manifest.read_manifest(folder) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["node.old"]


def test_a_missing_file_is_named_and_no_bug(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jinja: no such file"):
        FileHashes(tmp_path / "store")(tmp_path / "none.jinja")


def test_partial_work_is_kept_for_the_same_fingerprint_only(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    (manifest.begin(folder, manifest.Begun("a")) / "half").write_text("x")
    assert (manifest.begin(folder, manifest.Begun("a")) / "half").exists()
    assert not (manifest.begin(folder, manifest.Begun("b")) / "half").exists()


def test_damaged_manifest_is_named(tmp_path: Path) -> None:
    _finish(tmp_path / "node", "x")
    (tmp_path / "node" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: damaged manifest"):
        manifest.read_manifest(tmp_path / "node")


def test_folder_hash_sees_names_and_bytes_but_not_what_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = manifest.hash_folder(tmp_path, ignore=("log",))
    (tmp_path / "log").write_text("2")
    assert manifest.hash_folder(tmp_path, ignore=("log",)) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert manifest.hash_folder(tmp_path, ignore=("log",)) != before


def test_file_hashes_notice_a_changed_file(tmp_path: Path) -> None:
    file = tmp_path / "source"
    file.write_text("one")
    hashes = FileHashes(tmp_path / "store")
    first = hashes(file)
    hashes.save()
    assert FileHashes(tmp_path / "store")(file) == first == manifest.hash_file(file)
    file.write_text("three")
    assert FileHashes(tmp_path / "store")(file) == manifest.hash_file(file) != first


def test_two_processes_cannot_hold_one_run(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\nfrom pediatricsgpt import manifest\n"
        "with manifest.locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {other.pid}"), manifest.locked(tmp_path):
            pass
        other.communicate("")
    with manifest.locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError(errno.EFBIG, "File too large"), "larger than is allowed"),
        (RuntimeError("I/O error: File too large (os error 27)"), "larger than is allowed"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 41 vs 3"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only"),
        (RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"), "disk is full"),
    ],
)
def test_disk_errors_become_one_line(tmp_path: Path, error: Exception, reason: str) -> None:
    with pytest.raises(UserError, match=reason), manifest.disk_errors(tmp_path):
        raise error


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(KeyError), manifest.disk_errors(tmp_path):
        raise KeyError("x")


def test_a_file_in_the_place_of_the_run_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder is needed"), manifest.locked(tmp_path / "runs/x"):
        pass


def test_versions_name_this_package() -> None:
    assert "pediatricsgpt" in manifest.versions()


def test_scratch_stays_until_the_manifest_is_written_and_is_no_part_of_the_result(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    partial = manifest.begin(folder, manifest.Begun("f"))
    (partial / "weights").write_text("w")
    before = manifest.hash_folder(partial)
    (partial / manifest.SCRATCH / "checkpoint-4").mkdir(parents=True)
    (partial / manifest.SCRATCH / "checkpoint-4/weights").write_text("older")
    assert manifest.hash_folder(partial) == before
    # Killed behind the manifest: the next run removes it.
    (partial / manifest.MANIFEST).write_text("{}")
    manifest.recover(folder)
    assert (folder / "weights").is_file()
    assert not (folder / manifest.SCRATCH).exists()
