"""A recipe's values are looked at when it is read: none does harm, or ends in a traceback, hours later."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from cortexia_video.errors import InputError
from cortexia_video.training.recipe import Recipe, load_recipe

HEAD = {"name": '"a"', "steps": "2"}


def read(folder: Path, table: str = "", **words: str) -> Recipe:
    """Read a recipe of values as TOML writes them; `table` comes after the recipe's own."""
    path = folder / "recipe.toml"
    lines = [f"{name} = {value}" for name, value in (HEAD | words).items()]
    path.write_text("\n".join([*lines, '[[data]]\ndataset = "rgbd"\nroot = "x"', table]))
    return load_recipe(path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "name",
            ['"../esc"', '"a/b"', '"a\\\\b"', '""', '" "', '"."', '".."', f'"{"é" * 101}"'],
        ),
        ("steps", ["0", "-1"]),
        ("batch_size", ["0"]),
        ("checkpoint_steps", ["0"]),
        ("warm_up_steps", ["-1"]),
        ("workers", ["-1"]),
        ("seed", ["-1", "17592186044417", str(2**63)]),
        ("short_sides", ["[]", "[5]", "[192, 31]", "[0]", "[8193]"]),
        ("smallest_window", ["0", "-0.5", "1.01", "nan"]),
        ("learning_rate", ["0", "-1e-3", "inf", "nan"]),
        ("pretrained_rate", ["-0.1", "inf", "nan"]),
        ("weight_decay", ["-0.1", "inf", "nan"]),
        ("average_decay", ["-0.1", "1", "1.5", "nan"]),
        ("largest_gradient", ["0", "-1", "nan"]),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_it_must_be(
    name: str, values: list[str], tmp_path: Path
) -> None:
    for value in values:
        with pytest.raises(InputError, match=rf"recipe\.toml is no recipe: {name} is .*: it must be "):
            read(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("table", "name", "values"),
    [
        ("data", "weight", ["0", "-1", "inf", "nan"]),
        ("validation", "every", ["0"]),
        ("validation", "images", ["-1"]),
        ("network", "short_side", ["0", "-32", "31", "9000"]),
        ("loss", "trim", ["-0.1", "1", "nan"]),
        *(
            ("loss", name, ["-0.5", "inf", "nan"])
            for name in ("value", "gradient", "log_depth", "edge", "silog")
        ),
    ],
)
def test_a_value_in_a_table_is_named_with_its_table(
    table: str, name: str, values: list[str], tmp_path: Path
) -> None:
    for value in values:
        added = (
            f'[[data]]\ndataset = "rgbd"\nroot = "y"\n{name} = {value}'
            if table == "data"
            else f"[{table}]\n{name} = {value}"
        )
        called = rf"data\[1\]\.{name}" if table == "data" else rf"{table}\.{name}"
        with pytest.raises(InputError, match=f"{called} is .*: it must be "):
            read(tmp_path, added)


def test_a_number_that_no_float_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a number of more than 19 digits"):
        read(tmp_path, learning_rate="1" + 400 * "0")


def test_values_at_the_edge_of_what_can_be_are_taken(tmp_path: Path) -> None:
    recipe = read(
        tmp_path,
        "weight = 1e-9\n[network]\nshort_side = 32\n[loss]\ntrim = 0\nvalue = 0\nedge = 3",
        name='"a..b, ü"',
        steps="1",
        seed="17592186044416",
        workers="0",
        warm_up_steps="0",
        short_sides="[32, 200, 8192]",
        smallest_window="1",
        pretrained_rate="0",
        weight_decay="0",
        average_decay="0",
        largest_gradient="inf",
    )
    assert (recipe.seed, recipe.short_sides, recipe.loss.edge) == (2**44, (32, 200, 8192), 3.0)


def test_every_size_that_is_taken_makes_a_batch() -> None:
    """The rules know the smallest side of `compact`, of which rounding still leaves something."""
    import numpy as np

    from cortexia_video.training.batches import BatchView

    for side in (32, 33, 47, 48, 200):
        view = BatchView((side,), (1.0,), multiple_of=32)
        sizes = {view.draw_size(np.random.default_rng(seed)) for seed in range(60)}
        assert min(map(min, sizes)) >= 32


def test_the_largest_seed_is_one_of_torch() -> None:
    import torch

    torch.manual_seed(2**44 * 1_000_003 + 10**9)  # as the loop has it, in its last step
    with pytest.raises((RuntimeError, ValueError)):
        torch.manual_seed(2**45 * 1_000_003)


@pytest.mark.parametrize(
    ("name", "value"),
    [("weights", '"w.safetensors"'), ("encoder", '"efficientnet-lite0"'), ("short_side", "224")],
)
def test_a_checkpoint_of_transformers_is_its_own_start(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"network\.{name} is of compact: hf:there is its own start"):
        read(tmp_path, f'[network]\narchitecture = "hf:there"\n{name} = {value}')
    assert read(tmp_path, f"[network]\n{name} = {value}").network.architecture == "compact"
