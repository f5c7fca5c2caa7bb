"""No secret of a URL leaves this process: not in messages, ledgers, results, recipes, names of models."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import cortexia_video
from cortexia_video import estimate
from cortexia_video.cli import main
from cortexia_video.errors import InputError, OutputLostError, printable, redact
from cortexia_video.models.torch.checkpoint import open_checkpoint
from cortexia_video.storage.remote_path import RemotePath

SECRETS = ("PWSECRET", "SIGSECRET", "KEYSECRET")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:PWSECRET@h/a.jpg?X-Amz-Signature=SIGSECRET", "https://h/a.jpg"),
        ("http:/user:PWSECRET@h/a.jpg?SIGSECRET: not found", "http:/h/a.jpg: not found"),
        ("HTTPS://KEYSECRET@h/a.jpg", "HTTPS://h/a.jpg"),
        ("cannot read 'https://h/a?token=SIGSECRET', twice", "cannot read 'https://h/a', twice"),
        ('{"at": "http://h/a?SIGSECRET", "b": "c@d"}', '{"at": "http://h/a", "b": "c@d"}'),
        ("s3://KEYSECRET:PWSECRET@bucket/key", "s3://bucket/key"),
        ("s3://KEYSECRET:PW/SECRET+x@bucket/key", "s3://bucket/key"),
        ("s3://user:PW@SECRET@bucket/key", "s3://bucket/key"),
        ("az://box/a.jpg?sv=2024&sig=SIGSECRET&se=1", "az://box/a.jpg?sv=2024&sig=***&se=1"),
        ("az://box/a.jpg?sig=SIG/SECRET+a/b=&se=1", "az://box/a.jpg?sig=***&se=1"),
        ("memory://b/in?sig=SIGSECRET/a.npy", "memory://b/in?sig=***/a.npy"),
        ("gs://b/k?X-Goog-Signature=SIGSECRET", "gs://b/k?X-Goog-Signature=***"),
        ("x.onnx?X-Amz-Credential=KEYSECRET&X-Amz-Date=1", "x.onnx?X-Amz-Credential=***&X-Amz-Date=1"),
        ("https://a:PWSECRET@h/x and s3://b:KEYSECRET@c/y", "https://h/x and s3://c/y"),
        # what is no secret stays
        ("https://host:8080/a@b.jpg", "https://host:8080/a@b.jpg"),
        ("s3://bucket/a:b@c.jpg", "s3://bucket/a:b@c.jpg"),
        ("trip/a@b.jpg: no such file", "trip/a@b.jpg: no such file"),
        ("what is this?.jpg = 3", "what is this?.jpg = 3"),
        ("C:/a@b.jpg", "C:/a@b.jpg"),
    ],
)
def test_secrets_are_left_out_of_urls(text: str, shown: str) -> None:
    assert redact(text) == shown == redact(shown)
    assert printable(text) == shown
    assert str(InputError(text)) == shown
    assert str(pickle.loads(pickle.dumps(InputError(text)))) == shown


def test_an_error_that_travels_has_no_secret_either() -> None:
    error = OutputLostError("az://box/a?sig=SIGSECRET", OSError(28, "full"))
    assert "sig=***" in str(error) and str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_objects_key_may_look_like_a_signature() -> None:
    folder, path = RemotePath("s3://b/in"), RemotePath("s3://b/in/a?token=1.jpg")
    assert str(path) == "s3://b/in/a?token=***"
    assert str(path.relative_to(folder)) == path.name == "a?token=1.jpg"


# ---- commands ----------------------------------------------------------------------------------------------

URL = "http://user:PWSECRET@h/x.onnx?X-Amz-Signature=SIGSECRET"


@pytest.mark.parametrize(
    "command",
    [
        f"estimate in --output o --model onnx:{URL}",
        f"estimate in --output o --commercial-only --model onnx:{URL}",
        f"estimate in --output o --commercial-only --model hf:{URL}",
        f"plan in --output o --model onnx:{URL}",
    ],
)
def test_a_model_is_a_path(
    command: str,
    tmp_path: Path,
    make_image: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_image(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    shown = "".join(capfd.readouterr())
    assert ended.value.code == 2 and "a model is a path, not a URL: http://h/x.onnx;" in shown, shown
    assert_no_secret(shown, tmp_path)


def test_a_checkpoint_is_a_path() -> None:
    with pytest.raises(
        cortexia_video.errors.ModelLoadError, match="a model is a path, not a URL: http://h/x.onnx;"
    ):
        open_checkpoint(URL)


@pytest.mark.parametrize(
    "command",
    [
        "estimate {0} --output o",
        "estimate in --output {0}",
        "info {0}",
        "convert {0} --output o --format tiff",
        "report {0}",
        "verify {0}",
        "status {0} in",
        "pointcloud in --depth {0} --output o",
        "dataset build in --depth {0} --output o",
        "dataset info {0}",
        "evaluate {0} --truth in",
        "evaluate synthetic --truth {0}",
        "estimate in --output o --intrinsics {0}",
        "train {0} --output o",
        "estimate in --output o --workers {0}",
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        "https://user:PWSECRET@127.0.0.1:9/a.png?X-Amz-Signature=SIGSECRET",
        "ftp://user:PWSECRET@h/a.png?sig=SIGSECRET",
        "memory://KEYSECRET:PW/SECRET@b/a.png?sig=SIGSECRET",
    ],
)
def test_no_command_shows_or_writes_the_secrets_of_a_url(
    command: str,
    url: str,
    tmp_path: Path,
    make_image: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("aiohttp")
    if command.startswith("train"):
        pytest.importorskip("torch")
    make_image(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cortexia_video.storage.retries._FIRST_PAUSE_S", 0.0)
    with pytest.raises(SystemExit):
        main(command.format(url).split())
    assert_no_secret("".join(capfd.readouterr()), tmp_path)


def test_a_file_called_like_a_signed_url_gives_a_model_no_secret(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    """It is what `wget URL` leaves."""
    built_in = Path(cortexia_video.__file__).parent / "models" / "compact.onnx"
    file = tmp_path / "x.onnx?X-Amz-Signature=SIGSECRET"
    file.write_bytes(built_in.read_bytes())
    make_image(tmp_path / "in" / "a.png")
    estimate(tmp_path / "in", tmp_path / "out", model=f"onnx:{file}", format="npz")
    assert_no_secret("", tmp_path / "out")
    assert "x.onnx?X-Amz-Signature=***" in (tmp_path / "out" / "ledger.jsonl").read_text()


def test_a_recorded_recipe_has_no_secret(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from cortexia_video.training.output_folder import claim
    from cortexia_video.training.recipe import describe_recipe, load_recipe

    recipe = tmp_path / "recipe.toml"
    root = "s3://KEYSECRET:PWSECRET@bucket/pairs"
    recipe.write_text(f'name = "a"\nsteps = 1\n[[data]]\ndataset = "parquet"\nroot = "{root}"\n')
    with claim(recipe, tmp_path / "out"):
        assert load_recipe(tmp_path / "out" / "recipe.toml").data[0].root == "s3://bucket/pairs"
    assert "s3://bucket/pairs" in str(describe_recipe(load_recipe(recipe)))
    assert_no_secret(str(describe_recipe(load_recipe(recipe))), tmp_path / "out")


def assert_no_secret(shown: str, folder: Path) -> None:
    """Look for the secrets in what was shown, and in the names and contents of all files."""
    for path in folder.rglob("*"):
        shown += path.name + (path.read_bytes().decode("latin-1") if path.is_file() else "")
    assert not any(secret in shown for secret in SECRETS), shown
