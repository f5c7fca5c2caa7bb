"""The examples for clusters: they parse, say what their schedulers want, and their commands run here."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import HANG_S

import cortexia_video as cx
from cortexia_video.cli import app

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/cluster"


@pytest.fixture
def environment(tmp_path: Path, make_image: Callable[..., Path]) -> dict[str, str]:
    for index in range(6):
        make_image(tmp_path / "in" / f"{index}.jpg", seed=index)
    folder = Path(sys.executable).parent
    given = {"IMAGES": str(tmp_path / "in"), "DEPTH": str(tmp_path / "out"), "MODEL": "synthetic"}
    return {**os.environ, **given, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def read(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text())


def require_all_done(output: Path) -> None:
    assert cx.merge_ledgers(output) == 2
    done = [line["key"] for line in cx.read_ledger(output) if line.get("outcome") == "done"]
    assert sorted(done) == [f"{index}.jpg" for index in range(6)]


def require_command_is_understood(command: str) -> None:
    """Parse a command line as the shell and then as cortexia does."""
    program, *words = shlex.split(command)
    assert program == "cortexia"
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_slurm_array_does_all_parts(environment: dict[str, str], tmp_path: Path) -> None:
    script = EXAMPLES / "slurm_array.sbatch"
    options = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --array=1-16" in options and "#SBATCH --requeue" in options
    for part in ("1", "2"):
        slurm = {"SLURM_ARRAY_TASK_ID": part, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "2"}
        subprocess.run(["bash", script], env={**environment, **slurm}, check=True, timeout=HANG_S)
    require_all_done(tmp_path / "out")


def test_the_slurm_array_ends_well_where_images_failed_and_badly_where_nothing_was_done(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "in/broken.jpg").write_bytes(b"no image")
    slurm = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "1"}
    script = ["bash", str(EXAMPLES / "slurm_array.sbatch")]
    ran = subprocess.run(script, env={**environment, **slurm}, capture_output=True, text=True, timeout=HANG_S)
    assert ran.returncode == 0 and "cortexia report" in ran.stdout
    lost = {**environment, **slurm, "IMAGES": str(tmp_path / "gone")}
    assert subprocess.run(script, env=lost, capture_output=True, timeout=HANG_S).returncode == 2


def test_the_indexed_job_does_all_parts(environment: dict[str, str], tmp_path: Path) -> None:
    spec = read("kubernetes_indexed_job.yaml")["spec"]
    assert spec["completionMode"] == "Indexed" and spec["template"]["spec"]["restartPolicy"] == "Never"
    container = spec["template"]["spec"]["containers"][0]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert int(variables["PARTS"]) == spec["completions"]
    for index in ("0", "1"):
        given = {**variables, **environment, "PARTS": "2", "JOB_COMPLETION_INDEX": index}
        command = [*container["command"], *container["args"]]
        subprocess.run(command, env=given, check=True, timeout=HANG_S)
    require_all_done(tmp_path / "out")


def test_the_kuberay_job_is_one() -> None:
    job = read("kuberay_job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    group = cluster["workerGroupSpecs"][0]
    assert group["minReplicas"] == group["replicas"] <= group["maxReplicas"]
    for template in (cluster["headGroupSpec"]["template"], group["template"]):
        container = template["spec"]["containers"][0]
        assert container["image"].endswith(cluster["rayVersion"])
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
    require_command_is_understood(job["spec"]["entrypoint"])


def test_the_ray_cluster_is_what_ray_wants() -> None:
    config = read("ray_cluster.yaml")
    schema_path = Path(pytest.importorskip("ray").__file__).parent / "autoscaler/ray-schema.json"
    pytest.importorskip("jsonschema").validate(config, json.loads(schema_path.read_text()))
    assert config["head_node_type"] in config["available_node_types"]
    assert config["available_node_types"]["gpu"]["min_workers"] >= 1
    text = (EXAMPLES / "ray_cluster.yaml").read_text()
    said = text[text.index('"cortexia') + 1 : text.index('"; ray down')].replace("\n# ", " ")
    require_command_is_understood(said)
