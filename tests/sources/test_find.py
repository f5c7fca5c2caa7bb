"""Which files are inputs, and under which keys."""

from __future__ import annotations

import errno
import html
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cortexia_video import Failure, estimate, read_ledger
from cortexia_video import report as make_report
from cortexia_video.cli import main
from cortexia_video.errors import InputError, printable
from cortexia_video.ledger.partition import Partition
from cortexia_video.sources import find
from cortexia_video.sources.find import InputFile, find_images
from cortexia_video.storage.remote_path import RemotePath

Make = Callable[..., Path]


def keys(*inputs: Path | str, **options: object) -> list[str]:
    return [each.key for each in find_images(inputs, **options) if isinstance(each, InputFile)]


def failures(*inputs: Path | str, **options: object) -> dict[str, str]:
    return {each.key: each.reason for each in find_images(inputs, **options) if isinstance(each, Failure)}


def test_one_of_several_that_cannot_be_opened_costs_itself_alone(
    tmp_path: Path, make_image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: RemotePath) -> bool:
        raise OSError(errno.EIO, "connection reset")

    monkeypatch.setattr(RemotePath, "exists", lambda self: True)
    monkeypatch.setattr(RemotePath, "is_dir", lose)
    inputs = (make_image(tmp_path / "a.jpg"), "memory://bucket/b", make_image(tmp_path / "c.jpg"))
    assert keys(*inputs) == ["a.jpg", "c.jpg"]
    assert failures(*inputs) == {"memory://bucket/b": "cannot open memory://bucket/b: connection reset"}


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), OSError(errno.EIO, "lost")])
def test_whatever_is_raised_while_a_named_file_is_looked_at_costs_it_alone(
    error: Exception, tmp_path: Path, make_image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(path: str) -> bool:
        if path.endswith("b.png"):
            raise error
        return False

    monkeypatch.setattr(find, "is_own_output", look)
    named = [make_image(tmp_path / name) for name in ("a.jpg", "b.png", "c.jpg")]
    assert keys(*named) == ["a.jpg", "c.jpg"]
    assert [*failures(*named)] == [str(tmp_path / "b.png")]


def test_a_folder_gives_its_images_in_order(tmp_path: Path, make_image: Make) -> None:
    for name in ("b.png", "a.jpg", "sub/c.webp", "a.tif", "z.bmp", "q.AVIF"):
        make_image(tmp_path / name)
    assert keys(tmp_path) == ["a.jpg", "a.tif", "b.png", "q.AVIF", "z.bmp"]
    assert keys(tmp_path, recursive=True) == ["a.jpg", "a.tif", "b.png", "q.AVIF", "sub/c.webp", "z.bmp"]


def test_images_are_known_by_content_too_and_other_files_are_not_inputs(
    tmp_path: Path, make_image: Make
) -> None:
    make_image(tmp_path / "a.jpg").rename(tmp_path / "no-suffix")
    make_image(tmp_path / "a.png").rename(tmp_path / "upload.dat")
    (tmp_path / "notes.md").write_text("not an image")
    (tmp_path / "empty.bin").touch()
    (tmp_path / "text.jpg").write_text("an image by name: it must be answered for")
    assert keys(tmp_path) == ["no-suffix", "text.jpg", "upload.dat"]


def test_hidden_files_are_left_out(tmp_path: Path, make_image: Make) -> None:
    for name in ("._a.jpg", ".thumbs/a.jpg", "a.jpg"):
        make_image(tmp_path / name)
    assert keys(tmp_path, recursive=True) == ["a.jpg"]


def test_two_folders_keep_apart_by_their_names(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "one/a.jpg")
    make_image(tmp_path / "two/a.jpg")
    assert keys(tmp_path / "one", tmp_path / "two") == ["one/a.jpg", "two/a.jpg"]


def test_two_files_of_one_key_keep_apart_and_stay_so(tmp_path: Path, make_image: Make) -> None:
    first, second = make_image(tmp_path / "one/a.jpg"), make_image(tmp_path / "two/a.jpg")
    found = keys(first, second)
    assert found[0] == "a.jpg"
    assert found[1].startswith("a~")
    assert found[1].endswith(".jpg")
    assert keys(first, second) == found


def test_the_same_file_twice_is_one_input(tmp_path: Path, make_image: Make) -> None:
    path = make_image(tmp_path / "a.jpg")
    assert keys(path, path) == ["a.jpg"]
    assert keys(path, f"{tmp_path}/./a.jpg") == ["a.jpg"]


def test_a_list_names_files_relative_to_itself(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "sub/a b.jpg")
    outside = make_image(tmp_path / "elsewhere/c.jpg")
    lists = tmp_path / "lists"
    lists.mkdir()
    (tmp_path / "list.txt").write_text(f"sub/a b.jpg\n\n{outside}\nmissing.jpg\nsub\n")
    for given in (tmp_path / "list.txt", f"@{tmp_path / 'list.txt'}"):
        assert keys(given) == ["sub/a b.jpg", str(outside).lstrip("/")]
        assert set(failures(given)) == {"missing.jpg", "sub"}


def test_missing_input_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder: .*gone"):
        find_images([tmp_path / "gone"])
    with pytest.raises(InputError, match="no input"):
        find_images([])


def test_names_of_all_kinds_are_keys(tmp_path: Path, make_image: Make) -> None:
    data = make_image(tmp_path / "x.jpg").read_bytes()
    names = [b"a b.jpg", b"line\nbreak.jpg", b"\xff\xfe.jpg", "日本.jpg".encode(), b"-dash.jpg"]
    folder = tmp_path / "names"
    folder.mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(data)
    assert sorted(os.fsencode(key) for key in keys(folder)) == sorted(names)
    assert printable("a\nb\x1b[31m\udcff") == r"a\nb\x1b[31m\udcff"


def test_odd_lists_are_read(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "a.jpg")
    make_image(tmp_path / "other/b.jpg")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.jpg\r\na.jpg\r\n\0.png\r\n" + b"x" * 300 + b"\r\n")
    assert keys(tmp_path / "list.txt") == ["a.jpg"]
    assert len(failures(tmp_path / "list.txt")) == 2
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/list.txt").write_text("../other/b.jpg\n")
    assert keys(tmp_path / "sub/list.txt") == [str(tmp_path / "other/b.jpg").lstrip("/")]


def test_folders_deeper_than_calls_can_be(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1200):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)
    assert keys(tmp_path, recursive=True) == []
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_a_folder_and_a_file_in_it_are_one_input_each(tmp_path: Path, make_image: Make) -> None:
    path = make_image(tmp_path / "h/a.jpg")
    assert keys(tmp_path / "h", path) == ["h/a.jpg"]


def test_links_are_followed_but_not_in_a_circle(
    tmp_path: Path, make_image: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make_image(tmp_path / "top/deep/a.jpg")
    (tmp_path / "top/deep/back").symlink_to(tmp_path / "top")
    (tmp_path / "top/other").symlink_to(tmp_path / "top/deep")
    assert keys(tmp_path / "top", recursive=True) == ["deep/a.jpg", "other/a.jpg"]
    assert "link back to a folder above it" in caplog.text


def test_links_that_lead_nowhere_are_answered_for(tmp_path: Path) -> None:
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "not-there.jpg")
    assert set(failures(tmp_path)) == {"self.jpg", "gone.jpg"}


def test_what_is_no_file_is_answered_for_and_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert failures(tmp_path / "pipe.jpg") == {
        "pipe.jpg": "not a file that can be read: a folder, pipe or device"
    }
    assert keys(tmp_path) == []


def test_what_a_run_wrote_is_no_input(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "a.jpg")
    make_image(tmp_path / "sub/b.png")
    for where in (tmp_path, tmp_path / "sub/depth"):
        estimate(tmp_path, where, model="synthetic", format="png", preview=True, recursive=True)
    assert keys(tmp_path, recursive=True) == ["a.jpg", "sub/b.png"]
    make_image(tmp_path / "c.jpg").rename(tmp_path / "suffixless")
    estimate(tmp_path, tmp_path, model="synthetic", format="png")
    assert keys(tmp_path) == ["a.jpg", "suffixless"]
    (tmp_path / "suffixless").unlink()
    everything = [path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.suffix != ".txt"]
    assert {Path(key).name for key in keys(*everything)} == {"a.jpg", "b.png"}


def test_the_output_folder_is_not_descended_into(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "a.jpg")
    make_image(tmp_path / "out/foreign.jpg")
    assert keys(tmp_path, recursive=True, output=tmp_path / "out") == ["a.jpg"]


def test_an_own_view_is_distinguished_from_an_image_of_that_name(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "a.jpg")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.jpg.png")
    assert keys(tmp_path) == ["a.jpg", "a.jpg.png"]


def split(*inputs: Path | str, count: int = 3) -> list[list[str]]:
    """Return the keys of each shard, failures too."""
    shards = [Partition(index, count) for index in range(1, count + 1)]
    return [[each.key for each in find_images(inputs, recursive=True, partition=shard)] for shard in shards]


def test_every_input_is_in_one_shard(tmp_path: Path, make_image: Make) -> None:
    data = make_image(tmp_path / "first.jpg").read_bytes()
    photos = tmp_path / "photos"
    for name in [
        b"sub/\xff.jpg",
        *(b"%d.jpg" % number for number in range(20)),
        b"sub/.hidden.jpg",
        b"a.txt",
    ]:
        path = Path(os.fsdecode(os.fsencode(photos) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (photos / "gone.jpg").symlink_to(photos / "nowhere")
    (tmp_path / "list.txt").write_text("photos/1.jpg\nmissing.jpg\n")
    for inputs in ([photos], [photos, tmp_path / "first.jpg"], [tmp_path / "list.txt"]):
        whole = [each.key for each in find_images(inputs, recursive=True)]
        shards = split(*inputs)
        assert sorted(key for shard in shards for key in shard) == sorted(whole)
        assert all(shard == [key for key in whole if key in shard] for shard in shards)
    assert all(split(photos))


def test_the_split_does_not_depend_on_where_the_inputs_are(tmp_path: Path, make_image: Make) -> None:
    splits = []
    for machine in ("a", "mnt/b"):
        root = tmp_path / machine
        files = [make_image(root / f"{number}/same.jpg") for number in range(9)]  # eight keys get a mark
        assert len(set(keys(*files))) == 9
        unmarked = [[key.partition("~")[0].removesuffix(".jpg") for key in shard] for shard in split(*files)]
        splits.append(unmarked)
    assert splits[0] == splits[1]


def test_a_file_given_twice_is_in_one_shard(tmp_path: Path, make_image: Make) -> None:
    files = [make_image(tmp_path / f"h/{number}.jpg") for number in range(9)]
    found = [key for shard in split(tmp_path / "h", *files) for key in shard]
    assert sorted(found) == [f"h/{number}.jpg" for number in range(9)]


def test_a_folder_that_cannot_be_listed_is_in_one_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert sorted(split(tmp_path), key=len) == [[], [], [str(tmp_path)]]


def test_ledgers_are_no_inputs(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "a.jpg").rename(tmp_path / "ledger.3-of-16.jsonl")
    (tmp_path / "ledger.jsonl").touch()
    assert keys(tmp_path) == keys(*tmp_path.iterdir()) == []


def test_a_line_of_a_list_that_is_no_url_costs_itself(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "00.jpg")
    lines = [
        "00.jpg",
        "http://[x/a.jpg",
        "http://host:99999/a.jpg",
        "ftp://x/a.jpg",
        "s3://KEY:SECRET@b/a.jpg",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    report = estimate(tmp_path / "list.txt", tmp_path / "out", model="synthetic")
    assert (report.found, report.done, report.failed) == (5, 1, 4)
    reasons = {each.key: each.reason for each in report.failures}
    assert reasons["http://[x/a.jpg"] == "http://[x/a.jpg is no URL: check the name of its server"
    assert reasons["http://host:99999/a.jpg"].startswith("http://host:99999/a.jpg is no URL")
    assert "no such scheme here: use a path" in reasons["ftp://x/a.jpg"]
    (of_secret,) = (reason for reason in reasons.values() if "credentials" in reason)
    assert of_secret.endswith(
        "credentials are not taken from URLs: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )
    assert "SECRET@" not in str(reasons)
    assert "SECRET" not in (tmp_path / "out/ledger.jsonl").read_text().replace("AWS_SECRET_ACCESS_KEY", "")


@pytest.mark.parametrize("url", ["s3://[x/y", "s3:///key", "http://a b/c", "https://"])
def test_an_output_that_is_no_url_is_one_clear_error(url: str, tmp_path: Path, make_image: Make) -> None:
    with pytest.raises(InputError, match="is no URL: check the name of its (bucket|server)|names no bucket"):
        estimate(make_image(tmp_path / "a.jpg"), url, model="synthetic")


def test_everything_that_was_named_is_counted(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "a.jpg")
    make_image(tmp_path / "b.gif")
    make_image(tmp_path / "c.tga")
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe")
    for folder in ("nothing", "deep/inside"):
        (tmp_path / folder).mkdir(parents=True)
    make_image(tmp_path / "deep/inside/x.jpg")
    (tmp_path / "none.txt").write_text("\n\n")
    (tmp_path / "words.txt").write_text("hello\n")
    named = [
        "a.jpg",
        "b.gif",
        "c.tga",
        "d.heic",
        "empty.jpg",
        "pipe",
        "nothing",
        "deep",
        "none.txt",
        "words.txt",
    ]
    report = estimate(
        [*(tmp_path / name for name in named), tmp_path / "gone"], tmp_path / "out", model="synthetic"
    )
    assert (report.found, report.done, report.failed) == (11, 3, 8)
    reasons = {Path(each.key).name: each.reason for each in report.failures}
    assert reasons == {
        "d.heic": "damaged: the HEIF cannot be read; copy it again from where it came",
        "empty.jpg": "empty file",
        "pipe": "not a file that can be read: a folder, pipe or device",
        "nothing": "there are no images or videos in it; `recursive=True` looks into the folders inside",
        "deep": "there are no images or videos in it; `recursive=True` looks into the folders inside",
        "none.txt": "there are no images or videos in it",
        "hello": "cannot open hello: No such file or directory",
        "gone": f"no such file or folder: {tmp_path / 'gone'}",
    }


def test_what_a_folder_holds_and_is_passed_over_is_counted_and_said(
    tmp_path: Path, make_image: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b.gif", "sub/c.tga"):
        make_image(tmp_path / "in" / name)
    for name in ("d.psd", "e.PSD", "f.mp4", "notes.md", "g.NEF"):
        (tmp_path / "in" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    counted = {
        "GIF (read if named: give the files)": 1,
        "NEF (raw file of a camera: export as JPEG)": 1,
        "PSD (not readable: convert to JPEG)": 2,
        "TGA (read if named: give the files)": 1,
    }
    with pytest.raises(SystemExit):
        main(["estimate", f"{tmp_path}/in", f"--output={tmp_path}/out", "--model=synthetic", "--recursive"])
    said = capsys.readouterr()
    named = ", ".join(f"{count} {kind}" for kind, count in counted.items())
    assert (said.out + said.err).count(named) == 1 and f"passed over: {named}\n" in said.out
    (end,) = (line for line in read_ledger(tmp_path / "out") if "end" in line)
    assert end["passed_over"] == counted and (end["found"], end["done"], end["failed"]) == (2, 1, 1)
    make_report(tmp_path / "out", output=tmp_path / "page.html")
    page = html.unescape((tmp_path / "page.html").read_text())
    assert f"passed over: {named}" in page
    (tmp_path / "in/a.jpg").unlink()
    (tmp_path / "in/f.mp4").unlink()
    with pytest.raises(InputError, match=r"no images in .*passed over: 1 GIF"):
        estimate(tmp_path / "in", tmp_path / "out", model="synthetic")


def write_grey_16(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)).save(path)
    return path


DEPTH = "16-bit grey PNG beside other images (depth, not photos: give the files to estimate them)"


@pytest.mark.parametrize("beside", ["rgb/1.png", "rgb/1.jpg", "depth/1.jpg", "a/deep/1.tif"])
def test_depth_of_a_sensor_beside_images_is_no_image(beside: str, tmp_path: Path, make_image: Make) -> None:
    depth = [write_grey_16(tmp_path / f"tum/{name}") for name in ("depth/1.png", "depth/2.PNG", "z.png")]
    make_image(tmp_path / "tum" / beside)
    report = estimate(tmp_path / "tum", tmp_path / "out", model="synthetic", recursive=True)
    assert (report.found, report.done, report.passed_over) == (1, 1, {DEPTH: 3})
    parts = [
        estimate(tmp_path / "tum", tmp_path / "parts", model="synthetic", recursive=True, partition=f"{n}/3")
        for n in (1, 2, 3)
    ]
    assert [sum(each.found for each in parts), sum(each.passed_over.get(DEPTH, 0) for each in parts)] == [
        1,
        3,
    ]
    assert keys(*depth) == ["1.png", "2.PNG", "z.png"]  # who names them knows what they are
    assert keys(tmp_path / "tum", tmp_path / "out", recursive=True) == [f"tum/{beside}"]


def test_images_of_16_bits_alone_and_in_colour_are_images(tmp_path: Path, make_image: Make) -> None:
    for name in ("a.png", "sub/b.png"):
        write_grey_16(tmp_path / "grey" / name)
    assert keys(tmp_path / "grey", recursive=True) == ["a.png", "sub/b.png"]
    assert keys(tmp_path / "grey", tmp_path / "grey/sub") == ["grey/a.png", "sub/b.png"]
    make_image(tmp_path / "grey/.hidden.jpg")
    make_image(tmp_path / "grey/sub/deep/c.jpg")
    assert keys(tmp_path / "grey") == ["a.png"]  # what is not looked into is not beside it
    tiff = np.zeros((8, 8), np.uint16)
    Image.fromarray(tiff).save(tmp_path / "grey/d.tif")  # as scientific cameras write
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "grey/e.png")
    assert keys(tmp_path / "grey") == ["d.tif", "e.png"]
