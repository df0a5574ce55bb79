"""Folders, archives and single files are read alike, and a broken one says so in one line."""

import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import locate, read_file, read_members

FILES = {"a/one.csv": b"1\n2\n", "a/two.csv": b"3\n" * 5000, "b/three.txt": b"4\n"}


def folder(root: Path) -> Path:
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tar(path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return path


CONTAINERS = {
    "folder": lambda root: folder(root / "folder"),
    "tar": lambda root: tar(root / "x.tar", "w"),
    "tar.gz": lambda root: tar(root / "x.tar.gz", "w:gz"),
    "tar.xz": lambda root: tar(root / "x.tar.xz", "w:xz"),
    "tar.bz2": lambda root: tar(root / "x.tar.bz2", "w:bz2"),
    "zip": lambda root: zipped(root / "x.zip"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_gives_the_same_members(kind, tmp_path):
    path = CONTAINERS[kind](tmp_path)
    assert dict(read_members(path)) == FILES
    assert dict(read_members(path, "a")) == {name: FILES[name] for name in ("a/one.csv", "a/two.csv")}
    assert dict(read_members(path, "", lambda name: name.endswith(".txt"))) == {"b/three.txt": b"4\n"}


def test_gzipped_members_lose_their_suffix_and_hidden_files_are_passed_over(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"1\n"))
    (tmp_path / ".x.csv.swp").write_bytes(b"?")
    assert dict(read_members(tmp_path)) == {"x.csv": b"1\n"}
    assert dict(read_members(tmp_path / "x.csv.gz")) == {"x.csv": b"1\n"}


def test_a_path_may_go_on_inside_an_archive(tmp_path):
    path = tar(tmp_path / "x.tar.gz", "w:gz")
    assert locate(f"{path}/a") == (path, "a")
    assert locate(str(tmp_path)) == (tmp_path, "")


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "tar.bz2", "tar", "zip"])
def test_a_truncated_archive_is_named(kind, tmp_path):
    path = CONTAINERS[kind](tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(WorkloadError, match=rf"{path}: expected a complete .*truncated or damaged") as error:
        list(read_members(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_a_download_cut_in_its_last_bytes_is_noticed(kind, tmp_path):
    # the tar inside is whole: only the checksum at the very end is missing
    path = tar(tmp_path / "x.tar.gz", "w:gz") if kind == "gzip" else tar(tmp_path / "x.tar.xz", "w:xz")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WorkloadError, match="truncated or damaged"):
        list(read_members(path))


def test_a_truncated_gzip_inside_a_folder_is_named(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"12345\n" * 1000)[:-9])
    with pytest.raises(WorkloadError, match=r"x\.csv\.gz: expected a complete gzip file"):
        list(read_members(tmp_path))


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.tar.gz", b"<html>404</html>", r"expected gzip by its name \(1f8b\), found bytes 3c68746d6c3e"),
        ("x.zip", lzma.compress(b"1"), r"expected zip by its name \(504b0304\), found bytes fd377a585a00"),
        ("x.tar", b"<html>404</html>", r"expected a tar archive by its name"),
        ("x.tar.xz", b"", r"expected xz by its name .* the file is empty"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(name, data, expected, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WorkloadError, match=expected):
        list(read_members(tmp_path / name))


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(WorkloadError, match=r"nowhere/x\.csv: no such file or folder; .* has no 'nowhere'"):
        locate(str(tmp_path / "nowhere" / "x.csv"))


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_not_be_read_is_named(what):
    """Root may read everything, so a root run steps down to another user for the look."""
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    target = root / "locked"
    try:
        if what == "folder":
            folder(target)
        else:
            target.write_bytes(b"1\n")
        root.chmod(0o755)
        target.chmod(0o000)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(WorkloadError, match=r"locked: cannot be read: Permission denied"):
                list(read_members(target))
        finally:
            os.seteuid(was)
    finally:
        target.chmod(0o700)
        shutil.rmtree(root)


def test_one_file_is_asked_for_and_two_are_found(tmp_path):
    folder(tmp_path)
    with pytest.raises(WorkloadError, match=r"expected one table, found 2: a/one\.csv, a/two\.csv"):
        read_file(str(tmp_path), lambda name: name.endswith(".csv"), "table")
    with pytest.raises(WorkloadError, match="expected table, found no such file"):
        read_file(str(tmp_path), lambda name: name.endswith(".parquet"), "table")
    assert read_file(str(tmp_path), lambda name: name.endswith(".txt"), "text") == ("b/three.txt", b"4\n")


def test_a_reader_that_stops_early_leaves_no_thread_behind(tmp_path):
    path = tmp_path / "many.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for number in range(50):
            info = tarfile.TarInfo(f"{number}.csv")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"1\n\n"))
    before = threading.active_count()
    members = read_members(path)
    assert next(members)[0] == "0.csv"
    members.close()
    assert threading.active_count() == before
