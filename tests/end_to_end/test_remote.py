"""URLs in place of paths: an S3 server in this process, which fails now and then; fsspec's memory."""

from __future__ import annotations

import datetime
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from remote_folders import S3, encode, outputs, put_images, read_folder

pytest.importorskip("s3fs")
from botocore.utils import parse_timestamp
from s3_server import BUCKET, Server, fail_each, forget_file_systems, put, read_all

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.images.decode import read_image_bytes
from cortexia_video.sinks.sink import open_sink
from cortexia_video.sources.find import InputFile, find_images
from cortexia_video.storage.paths import to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.s3_answers import read_time


def estimate(given: Any, output: Any, **options: Any) -> cx.Report:
    return cx.estimate(given, output, model="synthetic", recursive=True, **options)


def test_a_bucket_gives_the_bytes_of_a_folder(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    report = estimate(f"{S3}/{place}/in", f"{S3}/{place}/out", preview=True)
    estimate(tmp_path / "in", tmp_path / "out", preview=True)
    assert report.counts == {"found": 6, "done": 6, "skipped": 0, "failed": 0}
    assert outputs(read_all(f"{place}/out")) == outputs(read_folder(tmp_path / "out"))
    again = estimate(f"{S3}/{place}/in", f"{S3}/{place}/out", preview=True)
    assert (again.done, again.skipped) == (0, 6)


def test_from_a_bucket_to_a_folder_and_back(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    estimate(f"{S3}/{place}/in", tmp_path / "down")
    estimate(f"file://{tmp_path}/in", f"{S3}/{place}/up")
    assert outputs(read_folder(tmp_path / "down")) == outputs(read_all(f"{place}/up"))


def test_a_changed_object_is_done_again_and_a_lost_output(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")
    put(f"{place}/in/0.png", encode(99))
    to_path(f"{S3}/{place}/out/2.png.npy").unlink()  # type: ignore[union-attr]
    again = estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")
    assert (again.done, again.skipped) == (2, 4)


def test_an_output_beside_the_images_is_no_input(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    for inside in ("", "/depth"):
        for _ in range(2):
            report = estimate(f"{S3}/{place}/in", f"{S3}/{place}/in{inside}", format="png", preview=True)
            assert report.found == 6, report


def test_what_is_not_ours_is_not_replaced(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    put(f"{place}/out/0.png.npy", b"precious")
    report = estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")
    assert [each.key for each in report.failures] == ["0.png"]
    assert read_all(f"{place}/out")["0.png.npy"] == b"precious"


@pytest.mark.parametrize(
    ("status", "code"), [("503 Slow Down", b"SlowDown"), ("500 Internal Server Error", b"InternalError")]
)
def test_a_server_that_fails_now_and_then_changes_nothing(
    server: Server, place: str, tmp_path: Path, status: str, code: bytes
) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    server.rule = fail_each(4, status, code)
    report = estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")
    server.rule = None
    estimate(tmp_path / "in", tmp_path / "out")
    assert report.done == 6
    assert outputs(read_all(f"{place}/out")) == outputs(read_folder(tmp_path / "out"))


def test_a_run_that_can_put_no_more_ends_and_goes_on_later(
    server: Server, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cortexia_video.storage.retries._FIRST_PAUSE_S", 0.0)
    put_images(f"{place}/in", tmp_path / "in")
    count = 0

    def deny(environ: dict[str, Any]) -> tuple[str, bytes] | None:
        nonlocal count
        count += environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith(".npy")
        return ("403 Forbidden", b"AccessDenied") if count > 3 else None

    server.rule = deny
    with pytest.raises(cx.errors.OutputLostError, match=r"no permission: .*run the same command again"):
        estimate(f"{S3}/{place}/in", f"{S3}/{place}/out", workers=1)
    server.rule = None
    report = estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")
    assert report.done + report.skipped == 6
    estimate(tmp_path / "in", tmp_path / "out")
    assert outputs(read_all(f"{place}/out")) == outputs(read_folder(tmp_path / "out"))


def test_an_object_that_vanishes_after_listing_is_a_failure(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    found = [*find_images([f"{S3}/{place}/in"], recursive=True)]
    to_path(f"{S3}/{place}/in/0.png").unlink()  # type: ignore[union-attr]
    monkeypatch.setattr("cortexia_video.jobs.estimate.find_images", lambda *_, **__: iter(found))
    report = estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")
    assert [str(each) for each in report.failures] == [
        "failed (decode): 0.png: it was removed after the bucket was listed"
    ]


def test_keys_that_lead_elsewhere_write_nothing_outside(place: str, tmp_path: Path) -> None:
    for name in ("a/../../../x.png", "./y.png", "good.png"):
        put(f"{place}/in/{name}", encode(1))
    report = estimate(f"{S3}/{place}/in", tmp_path / "out")
    assert (report.done, report.failed) == (1, 2)
    assert all("leads elsewhere" in each.reason and "rename" in each.reason for each in report.failures)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_line_that_is_not_utf8_is_a_failure(place: str, tmp_path: Path) -> None:
    put(f"{place}/good.png", encode(1))
    listing = tmp_path / "list.txt"
    listing.write_bytes(f"{S3}/{place}/good.png\n{S3}/{place}/".encode() + b"b\xe4d.png\n")
    report = estimate(listing, f"{S3}/{place}/out")
    assert (report.done, report.failed) == (1, 1)
    assert "not UTF-8" in report.failures[0].reason


def test_a_huge_object_is_not_read(place: str, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    put(f"{place}/0.png", encode(0))
    monkeypatch.setattr("cortexia_video.sources.objects.LARGEST_FILE", 10)
    (found,) = find_images([f"{S3}/{place}"])
    assert isinstance(found, cx.Failure) and found.reason.startswith("too large: the object has 0.0 GB")


def test_lists_of_urls(place: str, tmp_path: Path, server: Server) -> None:
    put_images(f"{place}/in", tmp_path / "in", 3)
    put(f"{place}/list.txt", f"in/0.png\n{S3}/{place}/in/trip/1.png\n".encode())
    found = [*find_images([f"{S3}/{place}/list.txt"])]
    keys = [each.key for each in found]
    assert keys == ["in/0.png", f"{BUCKET}/{place}/in/trip/1.png"]


def test_signed_urls_are_read_and_not_written_down(
    place: str, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    put(f"{place}/0.png", encode(0))
    signed = to_path(f"{S3}/{place}/0.png")._file_system.sign(f"{BUCKET}/{place}/0.png")  # type: ignore[union-attr]
    assert "Signature" in signed
    missing = signed.replace("0.png", "1.png")
    (tmp_path / "list.txt").write_text(f"{signed}\n{missing}\n")
    report = estimate(tmp_path / "list.txt", tmp_path / "out")
    assert report.done == 1, report.failures
    written = b"".join(read_folder(tmp_path / "out").values())
    said = "".join(map(str, report.failures))
    assert b"Signature" not in written and b"test-secret" not in written
    assert "Signature" not in said and "1.png" in said


@pytest.mark.parametrize(
    ("given", "output", "said"),
    [
        ("s3://no-such-bucket/in", f"{S3}/out", "no such bucket: check its name and region"),
        (f"{S3}/nothing-here", f"{S3}/out", "no such object or folder"),
        (
            "IMAGES",
            "s3://no-such-bucket/out",
            "cannot write to s3://no-such-bucket/out: no such bucket: check",
        ),
        ("ftp://host/in", f"{S3}/out", "no such scheme here: use a path, or one of file://, s3://"),
        ("s3://", f"{S3}/out", "names no bucket: give s3://bucket"),
    ],
)
def test_what_cannot_be_is_one_line(
    place: str, tmp_path: Path, given: str, output: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(f"{place}/0.png", encode(0))
    given = f"{S3}/{place}" if given == "IMAGES" else given
    with pytest.raises(SystemExit) as ended:
        main(["estimate", given, "--output", output, "--model", "synthetic", "--recursive"])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert len(lines) == 1 and said in lines[0]


@pytest.mark.parametrize("method", ["PUT", ""])
def test_without_permission_nothing_is_begun(server: Server, place: str, tmp_path: Path, method: str) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    server.rule = lambda environ: (
        ("403 Forbidden", b"AccessDenied") if method in ("", environ["REQUEST_METHOD"]) else None
    )
    with pytest.raises(
        (cx.errors.OutputError, cx.errors.InputError), match="no permission: give these credentials"
    ):
        estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")


def test_without_credentials_it_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    forget_file_systems()
    with pytest.raises(cx.errors.InputError, match="no credentials found: set the platform's usual ones"):
        estimate(f"{S3}/in", f"{S3}/out")
    forget_file_systems()


def test_two_shards_share_a_bucket_and_are_joined(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in", 12)
    out = f"{S3}/{place}/out"
    counts = [estimate(f"{S3}/{place}/in", out, partition=f"{part}/2").done for part in (1, 2)]
    assert sum(counts) == 12 and all(counts)
    before = [line for line in cx.read_ledger(to_path(out)) if line.get("outcome") == "done"]
    assert cx.merge_ledgers(to_path(out)) > 1
    assert [name for name in read_all(f"{place}/out") if name.startswith("ledger")] == ["ledger.jsonl"]
    after = [line for line in cx.read_ledger(to_path(out)) if line.get("outcome") == "done"]
    assert sorted(map(str, before)) == sorted(map(str, after))
    assert estimate(f"{S3}/{place}/in", out).skipped == 12


def test_verify_and_status_read_a_bucket(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    out = f"{S3}/{place}/out"
    estimate(f"{S3}/{place}/in", out)
    assert str(cx.verify(out)) == "6 outputs checked: 6 right, 0 wrong"
    put(f"{place}/out/0.png.npy", b"damaged")
    assert [each.key for each in cx.verify(out, requeue=True).wrong] == ["0.png"]
    with pytest.raises(SystemExit):
        main(["status", out, f"{S3}/{place}/in", "--recursive"])
    said = capsys.readouterr().out
    assert "5 done, 0 failed, 1 begun" in said and "of 6 inputs 1 is left" in said
    assert estimate(f"{S3}/{place}/in", out).done == 1


def test_a_listing_goes_page_by_page(place: str, server: Server) -> None:
    for index in range(5):
        put(f"{place}/{index}.png", b"x")
    files = to_path(f"{S3}/{place}")._file_system  # type: ignore[union-attr]
    asked = files.call_s3

    def ask(operation: str, **words: Any) -> Any:
        return asked(operation, **words, MaxKeys=2)

    files.call_s3 = ask
    try:
        server.requests.clear()
        listing = to_path(f"{S3}/{place}").list_files()  # type: ignore[union-attr]
        first = next(listing)[0]
        assert len(server.requests) == 1
        assert [first, *(name for name, _ in listing)] == [f"{index}.png" for index in range(5)]
        assert len(server.requests) == 3
    finally:
        del files.call_s3


def test_times_in_answers_are_those_that_botocore_reads(place: str) -> None:
    put(f"{place}/0.png", b"x")
    files = to_path(S3)._file_system  # type: ignore[union-attr]
    (listed,) = files.call_s3("list_objects_v2", Bucket=BUCKET, Prefix=place)["Contents"]
    assert listed["LastModified"].tzinfo is datetime.UTC  # botocore's has its own
    for text in ("2026-11-30T19:02:11.000Z", "Mon, 30 Nov 2026 19:02:11 GMT", 1_780_000_000):
        assert read_time(text) == parse_timestamp(text)


def test_other_stores_list_and_place_as_s3_does(tmp_path: Path) -> None:
    """fsspec's memory stands for what has no pages: gs, az."""
    root = RemotePath(f"memory://{tmp_path.name}/in")
    for index in range(4):
        (root / f"b/{index}.png").write_bytes(encode(index))
    (root / "a.png").write_bytes(encode(9))
    report = estimate(str(root), f"memory://{tmp_path.name}/out")
    assert report.done == 5
    found = [each for each in find_images([str(root)]) if isinstance(each, InputFile)]
    assert [each.key for each in found] == ["a.png"]
    assert estimate(str(root), f"memory://{tmp_path.name}/out").skipped == 5


def test_one_request_reads_an_image(place: str, server: Server) -> None:
    put(f"{place}/0.png", encode(0))
    server.requests.clear()
    read_image_bytes(f"{S3}/{place}/0.png")
    assert [method for method, _ in server.requests] == ["GET"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(cx.errors.MissingExtraError, match="gs:// needs gcsfs: (uv )?pip install gcsfs"):
        estimate("gs://bucket/in", "out")


def test_urls_are_shown_without_secrets() -> None:
    for url in ("https://me:secret@host/a.png?sig=secret", "https://host/a.png?secret"):
        assert "secret" not in f"{to_path(url)} {to_path(url)!r}"
    assert str(to_path("s3://bucket/what?.png")) == "s3://bucket/what?.png"


def test_a_report_of_a_bucket(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    estimate(f"{S3}/{place}/in", f"{S3}/{place}/out")
    assert cx.report(f"{S3}/{place}/out").summary.done == 6
    page = read_all(f"{place}/out")["report.html"]
    assert page.count(b"data:image") == 12, "each image beside its depth"
    cx.report(f"{S3}/{place}/out", output=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!DOCTYPE html>")


def test_shards_in_a_bucket_in_and_out(place: str, tmp_path: Path) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    for index in range(2):
        with tarfile.open(tmp_path / "shard.tar", "w") as archive:
            for name in (2 * index, 2 * index + 1):
                archive.add(
                    tmp_path / "in" / (f"trip/{name}.png" if name % 2 else f"{name}.png"), f"{name}.png"
                )
        put(f"{place}/shards/{index}.tar", (tmp_path / "shard.tar").read_bytes())
    packed = {"pack": "tar", "pack_size": 3}
    assert estimate(f"{S3}/{place}/shards/*.tar", f"{S3}/{place}/out", **packed).done == 4
    shards = [data for name, data in read_all(f"{place}/out").items() if name.startswith("depth-")]
    members: list[str] = []
    for data in shards:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members += archive.getnames()
    assert sorted(members) == [f"{n // 2}/{n}.png.{end}" for n in range(4) for end in ("json", "npy")]
    assert estimate(f"{S3}/{place}/shards/*.tar", f"{S3}/{place}/out", **packed).skipped == 4


def test_a_large_object_is_put_by_way_of_a_file(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 100 MB s3fs puts parts; here it is the way there that is tried."""
    monkeypatch.setattr("cortexia_video.sinks.objects._AT_ONCE", 10)
    data = np.random.default_rng(0).bytes(11 << 20)
    with open_sink(to_path(f"{S3}/{place}")) as sink:
        (placed,) = sink.place({"shard.tar": [data[:7], memoryview(data)[7:]]}).values()
    assert read_all(place) == {"shard.tar": data}
    assert placed == (len(data), xxhash.xxh3_128_hexdigest(data))


def test_a_plan_for_many_workers_counts_requests(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_images(f"{place}/in", tmp_path / "in")
    command = ["plan", f"{S3}/{place}/in", "--recursive", "--model", "synthetic"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--output", f"{S3}/{place}/out", "--num-workers", "8"])
    said = capsys.readouterr().out
    assert ended.value.code in (0, None)
    assert "6 images" in said and "shared by 8 workers" in said and "worker-hours" in said
    assert "requests to object stores: 1 LIST, 6 GET, 8 PUT" in said
