"""What a data file, a ledger, a recipe or a user names: regular files, within limits, inside their folder."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import tarfile
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cortexia_video import CortexiaError, Failure, open_dataset, read_depth
from cortexia_video.cli import main
from cortexia_video.datasets.huggingface import from_hf
from cortexia_video.datasets.readers._matlab import read_mat
from cortexia_video.errors import DecodeError, DepthFileError, InputError, ModelLoadError
from cortexia_video.evaluation.ground_truth import open_truth
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.geometry.intrinsics import load_intrinsics
from cortexia_video.images.decode import read_image_bytes
from cortexia_video.ledger.state import read_lines
from cortexia_video.models.onnx.model import load_onnx, read_licence
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import find_images
from cortexia_video.storage.paths import NamedFileError, read_named
from cortexia_video.storage.row_groups import read_row_group
from cortexia_video.training.recipe import load_recipe

GUARD_S = 600
HUGE_PARQUET = (
    "c-rlnziSjx5Xa~3txLogxC_j(3yU0RmMbpFUCaiROEDKOF?fmD!w^h&IhHdqKh8}wXq7UBzXH}aHezKF{{^uSv9PeU6&o8#Bl_O%"
    "<vd7lH4i@X=FQIg&MdE;MQW7M#0oCdQ6dZh6yA;f&Y%AYAON7GO<9|9Z7yjup-q5*HWrHNQWh<=yh$jCz!9Zf4!RoWZUY$VAVnr~"
    "@ZL~W4jw;wY2eW_QAeX!YyZ0W>RWC@9YF1>>hYf|pA7@Dz%UHMFbu;m48t%C!!QiPFbu;m48t%C!!XSM=Ylf`2snfn`^SS$#)8hy"
    "os0zu323^N032(lbtl?vq6sL64JUIqdN>SqPh}<NGi#g8b_BL`J-6tChtdte%DPD+N?Y2mh5b?Zu|Lp1hvXK~RDBq_nXK9>O2Be`"
    "kV>~-C6!Nfe&`7$`^|IVzdaQG7oqz;EwlgO)6rm0%6{=wUy}ZS{p(PG>p7Adjho9?)1Pv_iZQ){HmMa-x^58dQMFAoL~WW*K2fzw"
    "G_Rd$qPZmSZ>Q8vy~Hl8E78l!sokn2!9=7+y|tu+oz>-;trcB${*lfPsTykiS)vwQ>x%U*g-c0)v((=z=~h*6cOwdQYS`^!Y6_fu"
    "ry1Y7AMK8`I-QYb9B=RCA4Kua+V)m{d~&ojT6T--74<`Y7XXXYDE|cjXfUb"
)


def run_guarded(work: Callable[[], object]) -> object:
    """Return what work returns or raises; fail where it waits for ever."""
    found: list[object] = []

    def do() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            found.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(GUARD_S)
    assert found, "it waits for the writer of a pipe"
    return found[0]


def make_set(root: Path, rgb: str = "rgb/a.png", depth: str = "depth/a.png") -> Path:
    """Write two frames: a sound one, and one whose files are named here."""
    for folder in ("rgb", "depth"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (8, 6), (9, 9, 9)).save(root / "rgb/good.png")
    Image.fromarray(np.full((6, 8), 2000, np.uint16)).save(root / "depth/good.png")
    frames = [
        {"name": "good", "rgb": "rgb/good.png", "depth": "depth/good.png"},
        {"name": "a", "rgb": rgb, "depth": depth},
    ]
    about = {"name": "own", "depth_scale": 1000, "frames": frames}
    (root / "set.json").write_text(json.dumps(about))
    return root


def attempt(root: Path, name: str = "rgbd", **options: object) -> dict[str, str]:
    """Return what became of each sample: `ok`, or the reason."""
    attempts = open_dataset(name, root, **options).attempt()  # type: ignore[arg-type]
    return {each.key: each.reason if isinstance(each, Failure) else "ok" for each in attempts}


# ---- pipes and devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        lambda path: load_intrinsics(path=path),
        lambda path: load_protocol(str(path)),
        lambda path: load_recipe(path),
        lambda path: list(read_lines(path)),
        lambda path: read_depth(path),
        lambda path: read_image_bytes(str(path)),
        lambda path: read_mat(path, "testNdxs", np.ndarray),
        lambda path: list(find_images([f"@{path}"])),
        lambda path: load_onnx(f"onnx:{path}"),
        lambda path: read_licence(f"onnx:{path}"),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, work: Callable[[Path], object]) -> None:
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    error = run_guarded(lambda: work(path))
    assert isinstance(error, CortexiaError)
    assert "it is a pipe, not a file" in str(error)


@pytest.mark.parametrize("suffix", [".tar", ".parquet"])
def test_a_pipe_as_an_archive_is_one_failure(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pyarrow")
    os.mkfifo(tmp_path / f"a{suffix}")
    found = run_guarded(lambda: list(find_images([str(tmp_path / f"a{suffix}")])))
    assert isinstance(found, list)
    assert ["it is a pipe" in each.reason for each in found] == [True]


def test_pipes_in_a_dataset_are_failures_of_their_samples(tmp_path: Path) -> None:
    for word in ("rgb", "depth"):
        root = make_set(tmp_path / word, **{word: "pipe.png"})
        os.mkfifo(root / "pipe.png")
        (root / "depth/a.png").write_bytes((root / "depth/good.png").read_bytes())
        outcome = run_guarded(lambda root=root: attempt(root))
        assert isinstance(outcome, dict)
        assert outcome["good"] == "ok"
        assert "it is a pipe, not a file" in outcome["a"]


def test_a_link_to_a_pipe_among_depth_files_is_answered_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth/a.png").symlink_to(tmp_path / "pipe")
    found = run_guarded(lambda: list(DepthFiles([tmp_path / "depth"])))
    assert isinstance(found, list)
    assert [type(each) for each in found] == [Failure]


def test_pipes_beside_datasets_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "set.json")
    for name in ("rgb.txt", "depth.txt"):
        os.mkfifo(tmp_path / name)
    for name in ("rgbd", "tum"):
        error = run_guarded(lambda name=name: open_dataset(name, tmp_path))
        assert isinstance(error, InputError)
        assert "it is a pipe, not a file" in str(error)


def test_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(NamedFileError, match="it is a device, not a file"):
        read_named(Path("/dev/zero"))
    with pytest.raises(IsADirectoryError):
        read_named(tmp_path)


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_named(path, limit=5) == b"12345"
    with pytest.raises(NamedFileError, match=r"too large: the file has 0.0 MB, the limit is 4e-06"):
        read_named(path, limit=4)
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(InputError, match=r"too large: the file has 1000000.0 MB, the limit is 100"):
        load_intrinsics(path=path)


# ---- inside the folder -------------------------------------------------------------------------------------


def name_outside(root: Path, how: str) -> str:
    """Put an image outside of a set, and name it."""
    outside = root.parent / "outside.png"
    Image.new("RGB", (8, 6)).save(outside)
    if how == "link":
        (root / "rgb/link.png").symlink_to(outside)
    return {"up": "../outside.png", "absolute": str(outside), "link": "rgb/link.png"}[how]


@pytest.mark.parametrize("how", ["up", "absolute", "link"])
def test_names_in_set_json_stay_in_its_folder_unless_allowed(tmp_path: Path, how: str) -> None:
    root = make_set(tmp_path / "set", depth="depth/good.png")
    named = name_outside(root, how)
    about = json.loads((root / "set.json").read_text())
    about["frames"][1]["rgb"] = named
    (root / "set.json").write_text(json.dumps(about))
    outcome = attempt(root)
    assert outcome["good"] == "ok"
    assert f"it lies outside of {root}: copy it there, or allow that by `allow_outside=True`" in outcome["a"]
    assert attempt(root, allow_outside=True) == {"good": "ok", "a": "ok"}


def test_dot_dot_that_stays_inside_is_no_matter(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "depth/../rgb/good.png", f"{tmp_path}/set/depth/good.png")
    assert attempt(root) == {"good": "ok", "a": "ok"}


def test_lists_of_tum_stay_in_the_folder_unless_allowed(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    name_outside(root, "up")
    (root / "set.json").unlink()
    (root / "rgb.txt").write_text("1.0 rgb/good.png\n2.0 ../outside.png\n")
    (root / "depth.txt").write_text("1.0 depth/good.png\n2.0 depth/good.png\n")
    outcome = attempt(root, "tum")
    assert outcome["rgb/good.png"] == "ok"
    assert "it lies outside of" in outcome["../outside.png"]
    assert {*attempt(root, "tum", allow_outside=True).values()} == {"ok"}


def test_the_ground_truth_of_an_evaluation_is_held_to_it_too(tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", depth="depth/good.png")
    words = (root / "set.json").read_text().replace("rgb/a.png", "../set/../outside.png")
    (root / "set.json").write_text(words)
    name_outside(root, "up")
    for allowed in (False, True):
        truth = open_truth(root, load_protocol("real-frames"), allow_outside=allowed)
        (_, good), (_, outside) = truth.sets[0].list_samples()
        assert good().size == (6, 8)
        if allowed:
            assert outside().size == (6, 8)
        else:
            with pytest.raises(DecodeError, match="lies outside of"):
                outside()


def test_paths_in_cells_stay_in_the_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    root = make_set(tmp_path / "set")
    name_outside(root, "up")
    depth = (root / "depth/good.png").read_bytes()
    paths = [str(root / "rgb/good.png"), str(tmp_path / "outside.png")]
    table = {
        "image": [{"bytes": None, "path": path} for path in paths],
        "depth_map": [{"bytes": depth, "path": None}] * 2,
    }
    dataset = datasets.Dataset.from_dict(table)
    for within, outside in ((root, "lies outside of"), (None, "ok")):
        samples = from_hf(dataset, convention="scannet", within=within)
        reasons = [each.reason if isinstance(each, Failure) else "ok" for each in samples.attempt()]
        assert reasons[0] == "ok"
        assert outside in reasons[1]


def test_a_list_without_lines_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    with path.open("wb") as file:
        file.write(b"a" * 100)
        file.truncate(3 << 20)

    def read() -> None:
        (found,) = find_images([str(path)])
        assert isinstance(found, Failure)
        assert "list.txt, line 1: too long for a path" in found.reason

    assert measure_peak(read) < 1 << 20


def run(command: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(command)
    return ended.value.code


def test_the_commands_allow_it_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_set(tmp_path / "set", depth="depth/good.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "outside.png")
    words = (root / "set.json").read_text().replace("rgb/a.png", "../outside.png")
    (root / "set.json").write_text(words)
    assert run(["dataset", "info", str(root)]) == 1
    assert "--allow-outside" in "".join(capsys.readouterr())
    assert run(["dataset", "info", str(root), "--allow-outside"]) == 0
    assert run(["dataset", "build", str(root), "-o", str(tmp_path / "built"), "--allow-outside"]) == 0


# ---- bounded before it is read -----------------------------------------------------------------------------


def measure_peak(work: Callable[[], object]) -> int:
    """Return the most bytes that Python and NumPy held while work was done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ten_kilobytes_of_parquet_take_no_gigabytes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "huge6.parquet"
    path.write_bytes(zlib.decompress(base64.b85decode(HUGE_PARQUET)))
    reasons = []

    def read_all() -> None:
        for each in find_images([str(path)]):
            with pytest.raises(DecodeError) as raised:
                read_image_bytes(each.place)  # type: ignore[union-attr]
            reasons.append(str(raised.value))

    assert measure_peak(read_all) < 30_000_000
    assert len(reasons) == 6
    assert "row group 0, unpacked, has 300.0 MB, the limit is 268" in reasons[0]


def test_a_value_in_many_rows_counts_in_each(tmp_path: Path) -> None:
    """A dictionary holds it once: what the file declares is a sixth of what is read."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": [b"\0" * 900_000] * 9, "key": ["a"] * 9}), tmp_path / "a.parquet")
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.metadata.row_group(0).column(0).total_uncompressed_size < 1_000_000
    with pytest.raises(NamedFileError, match="row group 0, unpacked, has 1.8 MB, the limit is 1.5"):
        read_row_group(file, 0, ["image"], 1_500_000)
    whole = read_row_group(file, 0, ["image"], 9_000_000)
    assert whole.num_rows == 9
    assert whole["image"][8].as_py() == b"\0" * 900_000
    assert read_row_group(file, 0, ["key"], 1000)["key"].to_pylist() == ["a"] * 9


def test_files_in_tars_are_bounded_and_others_go_on(tmp_path: Path) -> None:
    good = io.BytesIO()
    Image.new("RGB", (8, 6)).save(good, "PNG")
    depth = io.BytesIO()
    Image.fromarray(np.full((6, 8), 2, np.float32)).save(depth, "TIFF")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("a", "sparse", "b"):
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(good.getvalue())
            if name == "sparse":  # the header of a sparse file: 100 GB in a hole
                member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
                header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
                header[483:495] = tarfile.itn(100 * 10**9, 12, tarfile.GNU_FORMAT)
                header[148:156] = b" " * 8
                header[148:156] = b"%06o\0 " % sum(header)
                archive.fileobj.write(header)  # type: ignore[union-attr]
                archive.offset += len(header)
                continue
            archive.addfile(member, io.BytesIO(good.getvalue()))
            member = tarfile.TarInfo(f"{name}.depth_map.tiff")
            member.size = len(depth.getvalue())
            archive.addfile(member, io.BytesIO(depth.getvalue()))
    found = {each.key: each for each in find_images([str(path)])}
    assert [*found] == [
        f"a/{name}" for name in ("a.png", "a.depth_map.tiff", "sparse.png", "b.png", "b.depth_map.tiff")
    ]
    assert [key for key, each in found.items() if isinstance(each, Failure)] == ["a/sparse.png"]
    assert "too large: it says 100.0 GB, the limit is 1" in found["a/sparse.png"].reason  # type: ignore[union-attr]
    outcome = attempt(tmp_path, "webdataset", convention="metres")
    assert (outcome["a"], outcome["b"]) == ("ok", "ok")
    assert "sparse file" in outcome["sparse"]


def test_an_npz_that_unpacks_to_more_than_its_header_says_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1, 1)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", header.getvalue() + bytes(30_000_000))

    def read() -> None:
        with pytest.raises(DepthFileError, match="it has 30000000 bytes of values, its header says 4"):
            read_depth(tmp_path / "a.npz", about={"kind": "metric"})

    assert (tmp_path / "a.npz").stat().st_size < 200_000
    assert measure_peak(read) < 10_000_000


def test_a_matlab_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(struct.pack("<II", 14, 101_000_000) + bytes(101_000_000), 1)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    (tmp_path / "a.mat").write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)

    def read() -> None:
        with pytest.raises(InputError, match="more than 100 MB are packed in it"):
            read_mat(tmp_path / "a.mat", "testNdxs", np.ndarray)

    assert measure_peak(read) < 300_000_000


# ---- HDF5 --------------------------------------------------------------------------------------------------


def test_hdf5_reads_numbers_of_its_own_file_only(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    from cortexia_video.formats.hdf5 import read_array

    (tmp_path / "secret").write_bytes(bytes(48 * 64 * 4))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dataset"] = np.ones((48, 64), np.float32)
    layout = h5py.VirtualLayout((48, 64), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "dataset", (48, 64))
    external = [(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["good"] = np.full((48, 64), 2, np.float32)
        file.create_dataset("external", (48, 64), "f4", external=external)
        file["elsewhere"] = h5py.ExternalLink("other.h5", "dataset")
        file["soft"] = h5py.SoftLink("/good")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("huge", (40000, 40000), "f4", chunks=(100, 100), compression="gzip")
        file.create_dataset("chunk", (2, 9), "f4", chunks=(10000, 10000), maxshape=(None, None))
        file.create_dataset("text", (48, 64), dtype=h5py.string_dtype())
        file.create_dataset("compound", (4,), dtype=[("a", "f4"), ("b", "f4")])
        file.create_group("group")
    assert (read_array(tmp_path / "a.h5", "good") == 2).all()
    reasons = {
        "external": "its values are in other files",
        "elsewhere": "it is a link, which is not followed",
        "soft": "it is a link, which is not followed",
        "virtual": "its values are in other files",
        "huge": "too large: the array has 6400.0 MB, the limit is 268",
        "chunk": "too large: the array has 400.0 MB, the limit is 268",
        "text": "it is not an array of numbers",
        "compound": "it is not an array of numbers",
        "group": "it is not an array of numbers",
        "none": "cannot read none",
    }
    for name, reason in reasons.items():
        with pytest.raises(DepthFileError, match=reason):
            read_array(tmp_path / "a.h5", name)


# ---- weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize("how", ["up", "absolute", "link"])
def test_weights_outside_of_a_models_folder_are_not_read(tmp_path: Path, backend: str, how: str) -> None:
    onnx = pytest.importorskip("onnx")
    if backend == "openvino":
        pytest.importorskip("openvino")
    (tmp_path / "model").mkdir()
    (tmp_path / "outside.bin").write_bytes(np.ones(3, np.float32).tobytes())
    (tmp_path / "model/link.bin").symlink_to(tmp_path / "outside.bin")
    named = {"up": "../outside.bin", "absolute": f"{tmp_path}/outside.bin", "link": "link.bin"}[how]
    make, values = onnx.helper, onnx.TensorProto(name="w", data_type=1, dims=[1, 3, 1, 1], data_location=1)
    for key, value in (("location", named), ("offset", "0"), ("length", "12")):
        values.external_data.add(key=key, value=value)
    sides = [1, 3, 8, 8]
    info = [make.make_tensor_value_info(name, 1, sides) for name in ("image", "depth")]
    graph = make.make_graph(
        [make.make_node("Add", ["image", "w"], ["depth"])], "g", *([e] for e in info), [values]
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "model/a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelLoadError, match="is not a network that"):
        load_onnx(f"onnx:{tmp_path}/model/a.onnx", backend=backend, kind="metric")
