"""Clips of other programs: every frame once, upright, and nothing else opened."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import SIZE, decode_by_ffmpeg, draw, ffmpeg, times_by_ffmpeg, write_clip
from PIL import Image

from cortexia_video.errors import DecodeError
from cortexia_video.video.clip_index import choose_probes, read_index
from cortexia_video.video.frames import digest_of, read_frames, read_some

KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.m2ts": {"format": "mpegts"},
    "h264.3gp": {},
    "raw.mp4": {"format": "h264"},  # a stream without a container, and a name that lies
    "open.mp4": {"options": {"x264-params": "open-gop=1:bframes=5:keyint=8:min-keyint=8"}},
    "hevc.mp4": {"codec": "libx265", "pixels": "yuv420p10le"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "mpeg4.m4v": {"codec": "mpeg4", "format": "mp4"},
    "ffv1.mkv": {"codec": "ffv1"},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_comes_once_and_as_ffmpeg_shows_it(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name, **KINDS[name])
    expected = decode_by_ffmpeg(path, *SIZE)
    index = read_index(path)
    frames = list(read_frames(path, index))
    assert (index.frames, index.height, index.width) == (len(expected), *SIZE) == (30, *SIZE)
    assert [number for number, _ in frames] == [*range(30)]
    for (_, image), other in zip(frames, expected, strict=True):
        assert image is not None
        assert np.abs(image.astype(int) - other).mean() < 2  # of 10 bits FFmpeg rounds otherwise


@pytest.mark.parametrize("name", KINDS)
def test_frames_by_number_are_those_of_the_whole(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name, **KINDS[name])
    index = read_index(path)
    whole = dict(read_frames(path, index))
    for number in (29, 3, 17, 0):
        ((found, image),) = read_frames(path, index, range(number, number + 1))
        assert found == number
        assert np.array_equal(image, whole[number])  # type: ignore[arg-type]
    far = dict(read_some(path, index, [2, 16, 29]))
    assert [*far] == [2, 16, 29]
    assert all(np.array_equal(image, whole[number]) for number, image in far.items())  # type: ignore[arg-type]
    some = dict(read_frames(path, index, range(4, 30, 5)))
    assert [*some] == [4, 9, 14, 19, 24, 29]
    assert all(np.array_equal(image, whole[number]) for number, image in some.items())  # type: ignore[arg-type]


def test_a_frame_of_another_past_is_decoded_from_the_start(tmp_path: Path) -> None:
    """Intra refresh has no keyframes: near a frame decoding gives other pixels, which their digests tell."""
    options = {"x264-params": "intra-refresh=1:keyint=24:bframes=0", "preset": "veryfast"}
    path = write_clip(tmp_path / "a.mp4", 120, options=options)
    index = read_index(path)
    whole = dict(read_frames(path, index))
    proof = {number: digest_of(image) for number in range(84, 100) if (image := whole[number]) is not None}
    later = dict(read_frames(path, index, range(100, 120), proof=proof))
    assert all(np.array_equal(image, whole[number]) for number, image in later.items())  # type: ignore[arg-type]
    wrong = {**proof, 99: "0" * 32}
    again = dict(read_frames(path, index, range(100, 104), proof=wrong))
    assert all(np.array_equal(image, whole[number]) for number, image in again.items())  # type: ignore[arg-type]


def test_what_an_edit_list_leaves_out_does_not_count(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", 60, options={"x264-params": "keyint=60"})
    cut = tmp_path / "cut.mp4"
    ffmpeg("-ss", "0.7", "-i", source, "-c", "copy", cut)
    expected = decode_by_ffmpeg(cut, *SIZE)
    index = read_index(cut)
    frames = [image for _, image in read_frames(cut, index)]
    assert index.frames == len(frames) == len(expected) < 60
    assert np.abs(np.array(frames).astype(int) - expected).mean() < 1  # type: ignore[arg-type]


def test_times_are_those_of_the_clip(tmp_path: Path) -> None:
    times = [0, 20, 25, 100, 400, 410, 1500]
    path = write_clip(tmp_path / "vfr.mkv", 7, times_ms=times)
    index = read_index(path)
    assert [index.time_s(number) for number in range(7)] == pytest.approx(times_by_ffmpeg(path))
    assert [index.time_s(number) for number in range(7)] == pytest.approx([each / 1000 for each in times])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_phones_turn_their_videos(tmp_path: Path, degrees: int) -> None:
    upright = np.full((96, 64, 3), 60, np.uint8)
    upright[:32, :32, 0], upright[-32:, -32:, 2] = 255, 255
    stored = np.ascontiguousarray(np.rot90(upright, k=degrees // 90))
    flat = write_clip(tmp_path / "flat.mp4", [stored] * 3)
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", -degrees, "-i", flat, "-c", "copy", path)
    (expected, *_) = decode_by_ffmpeg(path, 96, 64)
    index = read_index(path)
    (_, image), *_ = read_frames(path, index)
    assert (index.height, index.width) == (96, 64)
    assert image is not None
    assert np.abs(image.astype(int) - expected).mean() < 1
    assert np.abs(image.astype(int) - upright).mean() < 8


@pytest.mark.parametrize("name", KINDS)
def test_frames_that_are_read_small_are_means_of_the_whole(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name, 4, **KINDS[name])
    index = read_index(path)
    for enough in ((14, 18), (23, 31)):
        small = dict(read_frames(path, index, enough=enough))
        for number, image in read_frames(path, index):
            assert image is not None and small[number] is not None
            if small[number].shape == image.shape:  # stored as red, green, blue
                assert index.codec == "ffv1" and np.array_equal(small[number], image)
                continue
            mean = np.asarray(Image.fromarray(image).resize(enough[::-1], Image.Resampling.BILINEAR))
            assert small[number].shape == mean.shape
            assert np.abs(small[number].astype(int) - mean).mean() < 2.5
        far = dict(read_some(path, index, [1, 3], enough))
        assert all(np.array_equal(image, small[number]) for number, image in far.items())


def test_frames_that_are_read_small_are_upright_and_of_square_pixels(tmp_path: Path) -> None:
    upright = np.full((96, 64, 3), 60, np.uint8)
    upright[:32, :32, 0], upright[-32:, -32:, 2] = 255, 255
    flat = write_clip(tmp_path / "flat.mp4", [np.ascontiguousarray(np.rot90(upright))] * 3)
    for name, more in (("turned.mp4", ("-display_rotation", -90)), ("wide.mp4", ("-display_rotation", 0))):
        path = tmp_path / name
        ffmpeg(*more, "-i", flat, "-c", "copy", "-aspect", "16:9", path)
        index = read_index(path)
        enough = (index.height // 4, index.width // 4)
        ((_, image), *_), ((_, whole), *_) = read_frames(path, index, enough=enough), read_frames(path, index)
        assert image is not None and whole is not None
        assert image.shape[:2] == enough
        mean = np.asarray(Image.fromarray(whole).resize(enough[::-1], Image.Resampling.BILINEAR))
        assert np.abs(image.astype(int) - mean).mean() < 2.5, name


def test_pixels_become_square(tmp_path: Path) -> None:
    flat = write_clip(tmp_path / "flat.mp4", 3)
    path = tmp_path / "wide.mp4"
    ffmpeg("-i", flat, "-c", "copy", "-aspect", "16:9", path)
    index = read_index(path)
    (_, image), *_ = read_frames(path, index)
    assert (index.height, index.width) == (48, 85)
    wanted = ffmpeg(
        "-i", flat, "-frames:v", 1, "-vf", "scale=85:48", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"
    )
    assert image is not None
    assert np.abs(image.astype(int) - np.frombuffer(wanted, np.uint8).reshape(image.shape)).mean() < 3


def test_of_two_fields_one_is_taken(tmp_path: Path) -> None:
    first, second = np.full((48, 64, 3), 40, np.uint8), np.full((48, 64, 3), 200, np.uint8)
    woven = first.copy()
    woven[1::2] = second[1::2]
    options = {"x264-params": "interlaced=1:tff=1", "qp": "0"}
    path = write_clip(tmp_path / "woven.mp4", [woven] * 4, options=options, pixels="yuv444p")
    index = read_index(path)
    (_, image), *_ = read_frames(path, index)
    assert index.interlaced
    assert image is not None
    assert np.abs(image.astype(int) - 40).max() < 8


def test_hdr_is_reported(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "pq.mp4",
        3,
        codec="libx265",
        pixels="yuv420p10le",
        options={"x265-params": "log-level=none:pools=1:transfer=smpte2084"},
    )
    assert read_index(path).hdr == "PQ"


def test_damaged_frames_are_none_and_the_others_come(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 60, options={"x264-params": "keyint=10"})
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 900
    for at in range(begin, len(data) - 4000, 211):
        data[at] ^= 0xFF
    path.write_bytes(data)
    index = read_index(path)
    frames = dict(read_frames(path, index))
    assert [*frames] == [*range(index.frames)] == [*range(60)]
    lost = [number for number, image in frames.items() if image is None]
    assert 0 < len(lost) < 60


def test_a_stream_that_is_cut_at_both_ends_keeps_its_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.ts", 90, options={"x264-params": "keyint=10:bframes=2"})
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 5 : -len(data) // 5])
    index = read_index(path)
    good = [image for _, image in read_frames(path, index) if image is not None]
    expected = decode_by_ffmpeg(path, *SIZE)
    assert abs(len(good) - len(expected)) <= 2  # FFmpeg's program also shows what it knows to be damaged
    assert index.frames >= len(good) > 30


def test_another_size_on_the_way_is_said(tmp_path: Path) -> None:
    one = write_clip(tmp_path / "1.h264", 5, format="h264")
    two = write_clip(tmp_path / "2.h264", [draw(each, 64, 96) for each in range(5)], format="h264")
    path = tmp_path / "both.mp4"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    told = r"change from 64 x 48 to 96 x 64 pixels at frame 5 \(0\.2"
    with pytest.raises(DecodeError, match=told):
        list(read_frames(path, read_index(path)))
    with pytest.raises(DecodeError, match=told):  # a frame that is not wanted says it, too
        list(read_frames(path, read_index(path), range(0, 10, 4)))


def make_sound(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", path)


def blank(path: Path) -> None:
    data = bytearray(write_clip(path).read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)


BAD: dict[str, tuple[Any, str]] = {
    "no frame": (blank, "no frame of it can be decoded"),
    "empty": (lambda path: path.write_bytes(b""), "empty file"),
    "text": (lambda path: path.write_text("hello"), "plain text"),
    "sound": (make_sound, "only sound"),
    "no index": (
        lambda path: path.write_bytes(write_clip(path).read_bytes()[:-1500]),
        "cut short or damaged",
    ),
    "image": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + b"0" * 999), "not a video"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_video_is_reported(tmp_path: Path, name: str) -> None:
    make, told = BAD[name]
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(DecodeError, match=told):
        read_index(path)


def test_large_frames_are_refused_by_their_header(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="megapixels"):
        read_index(write_clip(tmp_path / "a.mp4"), max_megapixels=0.003)


LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile 'secret.ts'\n",
    "m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "mpd": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>secret.ts</BaseURL></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_files_opens_none_of_them(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "secret.ts")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "list.mp4"
    path.write_text(LISTS[kind])
    with pytest.raises(DecodeError, match="not a video"):
        read_index(path)
    with pytest.raises(DecodeError, match="not a video"):
        read_index(io.BytesIO(path.read_bytes()))


@pytest.mark.parametrize(
    "name", ["http:x.mp4", "concat:a.mp4", "data:x.mp4", "%03d.mp4", "caf\udce9.mp4", "a\nb.mp4"]
)
def test_names_are_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "plain.mp4").rename(tmp_path / name)
    assert read_index(Path(name)).frames == 30


def test_a_codec_that_nobody_knows_is_reported(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", codec="mpeg4")
    data = path.read_bytes().replace(b"FMP4", b"Zzz9")
    path.write_bytes(data)
    with pytest.raises(DecodeError, match="codec is not known"):
        read_index(path)


def test_frames_to_know_a_clip_by_are_keyframes_where_these_are_dense(tmp_path: Path) -> None:
    dense = read_index(write_clip(tmp_path / "a.mp4", 120, options={"x264-params": "keyint=6:min-keyint=6"}))
    assert [*dense.keyframes] == [*range(0, 120, 6)]
    numbers = range(3, 115)
    probes = choose_probes(dense, numbers)
    assert 8 <= len(probes) <= 16 and set(probes) <= set(dense.keyframes) & set(numbers)
    assert probes[0] <= 10 and probes[-1] >= 107
    sparse = read_index(write_clip(tmp_path / "b.mp4", 120, options={"x264-params": "keyint=250"}))
    spread = choose_probes(sparse, range(0, 120, 7))
    assert len(spread) == 16 and {*spread} < {*range(0, 120, 7)} and (spread[0], spread[-1]) == (0, 119)
    each_second = read_index(
        write_clip(tmp_path / "c.mp4", 120, options={"x264-params": "keyint=24:min-keyint=24"})
    )
    assert choose_probes(each_second, range(120)) == [0, 24, 48, 72, 96]
    assert len(choose_probes(each_second, range(60))) == 16  # three keyframes are too few
    images = read_some(tmp_path / "a.mp4", dense, probes)
    whole = dict(read_frames(tmp_path / "a.mp4", dense))
    assert all(np.array_equal(image, whole[number]) for number, image in images)  # type: ignore[arg-type]
