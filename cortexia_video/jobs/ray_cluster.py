"""`RayExecutor`: the `Executor` of many processes, by Ray Data. The only place that knows Ray."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import secrets
import shutil
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import TracebackType
from typing import Any, Self

from cortexia_video.errors import (
    CortexiaError,
    Failure,
    InputError,
    MissingExtraError,
    ModelError,
    OutputLostError,
)
from cortexia_video.jobs.outcomes import Outcomes, Report
from cortexia_video.jobs.run_spec import RunSpec
from cortexia_video.jobs.worker import (
    ItemResult,
    OutputLost,
    Worker,
    WorkerMessage,
    WorkerUsage,
    settle,
    settle_settings,
)
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.runtime.throughput import MODEL, Speed
from cortexia_video.sources.find import InputFile
from cortexia_video.storage.remote_path import RemotePath

BLOCK = 64  # inputs that a worker takes at once; the most that one dying process takes with it is two blocks
_WAVE = 20_000  # inputs a worker, after which the workers begin anew: so much is kept in memory
_ANSWERS_S = 3.0  # for which an address may take to answer
_ALONE = 2  # times that an input must end its process alone, to be left out
_LOCAL_STORE = 1 << 28  # bytes of shared memory of a cluster of our own: blocks are small
_LONGEST_FOLDER = 20  # bytes, of a folder in which Ray's sockets can be: their names have 107 at most
_DIED = "the process that worked on it died, also when it worked on nothing else: try it on one machine"

_log = logging.getLogger(__name__)


class ClusterError(CortexiaError):
    """A cluster cannot be reached, has no room, or ended while a run was on."""


class RayExecutor:
    """Workers on the machines of a Ray cluster, or of one that is begun here for as long as this is entered.

    Args:
        address: auto: the Ray cluster that this machine is part of; 10.0.0.5:6379: that one. Without it one
            begins here, and ends with the run.
        num_workers: Processes with a model each. By default one per GPU, or, without GPUs, one per machine.
        gpus_per_worker: GPUs of each; 1 by default where there are any.

    Raises:
        MissingExtraError: On entering, without Ray.
        ClusterError: On entering, where no cluster answers; in `prepare`, where no machine has room for a
            worker.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        num_workers: int | None = None,
        gpus_per_worker: float | None = None,
    ) -> None:
        if num_workers is not None and num_workers < 1:
            raise InputError(f"`num_workers` must be more than 0, not {num_workers}")
        if gpus_per_worker is not None and gpus_per_worker < 0:
            raise InputError(f"`gpus_per_worker` must not be less than 0, not {gpus_per_worker}")
        self._address = address
        self._asked = num_workers
        self._gpus = gpus_per_worker
        self._end = contextlib.ExitStack()

    def __enter__(self) -> Self:
        ray = _import_ray()
        if not ray.is_initialized():
            with contextlib.ExitStack() as stack:
                settings = {} if self._address else stack.enter_context(_keep_apart())
                stack.callback(ray.shutdown)
                _connect(ray, self._address, settings)
                self._end = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()

    def prepare(self, order: RunSpec) -> Mapping[str, object]:
        """Find room for the workers, and let one load the model, to say what the outputs depend on."""
        ray = _import_ray()
        if order.asked.get("backend") == "auto":
            raise InputError(
                "`backend='auto'` could choose another backend on each worker: name one, such as onnx"
            )
        self._order = replace(order, root=_make_absolute(order))
        self._count, self._gpus = _find_room(ray, self._asked, self._gpus)
        if not isinstance(order.model, str):  # it is here, loaded
            choice, estimators = order.load()
            return order.describe(choice, estimators[0])
        first = [each for each in islice(order.find(), 16) if isinstance(each, InputFile)]
        settings = _ask_worker(ray, self._resources, self._order, first)
        if isinstance(settings, str):
            raise ModelError(settings)
        return settings

    def work(self, outcomes: Outcomes, found: Iterator[Any], stop: threading.Event) -> Report:
        ledger, report = outcomes.ledger, outcomes.report
        work = ledger.claim_groups(outcomes.needing_work(found))
        tally, started = _Tally(self._count), time.monotonic()
        outcomes.slowest = tally.find_slowest
        try:
            while wave := [*islice(work, _WAVE * self._count)]:
                _Wave(self, outcomes, tally, stop).run(wave)
                if stop.is_set():
                    break
        except OutputLostError as error:
            error.report = report
            raise
        finally:
            outcomes.end(time.monotonic() - started)
        report.speed = tally.measure(report) if report.done else None
        _record_end(ledger, report)
        return report

    @property
    def _resources(self) -> dict[str, Any]:
        """Return what a worker takes. On a GPU's machine no core is kept for it: the GPU is what is scarce."""
        return {"num_gpus": self._gpus, "num_cpus": 0} if self._gpus else {"num_cpus": 1}

    def choose_block(self, count: int) -> int:
        """Return how many of `count` inputs a worker takes at once: a shard, or so many that all have work."""
        if self._order.packing:
            return self._order.packing.size
        return min(BLOCK, math.ceil(count / (4 * self._count)))

    def run_blocks(
        self, blocks: Sequence[Sequence[tuple[int, InputFile]]], at_once: int
    ) -> Iterator[WorkerMessage]:
        """Yield what workers tell of blocks of numbered inputs; of those whose worker dies, nothing.

        at_once: blocks in work in one process.
        """
        ray = _import_ray()
        import pyarrow as pa
        from ray.data import ActorPoolStrategy, DataContext

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is lost is told by us
        context = DataContext.get_current()
        context.max_errored_blocks = -1
        context.enable_progress_bars = False
        tables = [pa.table({"item": pa.array(map(pickle.dumps, each), pa.binary())}) for each in blocks]
        pool = ActorPoolStrategy(
            size=min(self._count, len(blocks)),
            max_tasks_in_flight_per_actor=at_once,
            max_concurrent_calls_per_actor=at_once,
            enable_true_multi_threading=True,
        )
        with warnings.catch_warnings():  # it is to go in Ray 2.64, and there is no other way to say it yet
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            results = ray.data.from_arrow(tables).map_batches(
                Worker,
                fn_constructor_args=(self._order,),
                batch_size=None,
                batch_format="pyarrow",
                compute=pool,
                max_task_retries=0,  # a block that ended its worker is not tried as it is: it is taken apart
                **self._resources,
            )
        with _as_cluster_error():
            for table in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from (pickle.loads(each.as_py()) for each in table["told"])


class _Wave:
    """Some inputs, taken to their outcomes: all at once, then what was lost with a process, one by one."""

    def __init__(
        self, cluster: RayExecutor, outcomes: Outcomes, tally: _Tally, stop: threading.Event
    ) -> None:
        self._cluster = cluster
        self._outcomes = outcomes
        self._tally = tally
        self._stop = stop
        self._left: dict[int, InputFile] = {}

    def run(self, items: Sequence[InputFile]) -> None:
        self._left = dict(enumerate(items))
        self._run_all(self._cluster.choose_block(len(items)), at_once=2)
        for _ in range(_ALONE):
            if self._left and not self._stop.is_set():
                _log.warning("%d inputs were lost with a process or a machine: once more", len(self._left))
                self._run_all(1, at_once=1)
        if not self._stop.is_set():
            for item in self._left.values():
                self._outcomes.fail(Failure(item.key, "estimate", CortexiaError(_DIED)), item)

    def _run_all(self, size: int, at_once: int) -> None:
        numbered = iter([*self._left.items()])
        blocks = []
        while block := [*islice(numbered, size)]:
            blocks.append(block)
        for told in self._cluster.run_blocks(blocks, at_once):
            if isinstance(told, WorkerUsage):
                self._tally.add(told)
            else:
                self._settle(*told)
            if self._stop.is_set():
                return

    def _settle(self, number: int, result: ItemResult) -> None:
        item = self._left.get(number)
        if isinstance(result, OutputLost):
            settle(self._outcomes, next(iter(self._left.values())), result)
        elif item is not None:  # told twice: the first counts
            del self._left[number]
            settle(self._outcomes, item, result)


@dataclass
class _Tally:
    """What all workers used."""

    workers: int
    seconds: dict[str, float] = field(default_factory=dict)
    core_seconds: dict[str, float] = field(default_factory=dict)
    process_seconds: float = 0.0
    cores: int = 1
    device: str = "cpu"

    def add(self, used: WorkerUsage) -> None:
        for ours, theirs in ((self.seconds, used.seconds), (self.core_seconds, used.core_seconds)):
            for name, each in theirs.items():
                ours[name] = ours.get(name, 0.0) + each
        self.process_seconds += used.process_seconds
        self.cores, self.device = used.cores, used.device

    def find_slowest(self) -> str | None:
        return max(self.seconds, key=lambda name: self.seconds[name], default=None)

    def measure(self, report: Report) -> Speed:
        """Share the workers' seconds among the stages: what no other stage used is the model's."""
        stages = {name: used for name, used in self.core_seconds.items() if name != MODEL}
        stages[MODEL] = max(0.0, self.process_seconds - sum(stages.values()))
        return Speed(
            images=report.done + report.failed,
            seconds=report.seconds,
            cores=_count_cores(),
            devices=self.workers,
            busy_seconds=self.seconds.get(MODEL, 0.0),
            core_seconds=stages,
            on_processor=self.device.startswith("cpu"),
        )


def _record_end(ledger: Ledger, report: Report) -> None:
    ledger.record_end(
        **report.counts,
        interrupted=report.interrupted,
        seconds=round(report.seconds, 3),
        images_per_second=round(report.images_per_second, 3),
        batch_sizes={},
        speed=report.speed.as_dict() if report.speed else None,
    )


def _import_ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of a change to come
    try:
        import ray
        import ray.data
    except ImportError as error:
        missing = f"the executor ray needs Ray, which is not installed ({error})"
        raise MissingExtraError(f"{missing}: pip install 'cortexia-video[distributed]'") from error
    return ray


def _connect(ray: Any, address: str | None, settings: Mapping[str, Any]) -> None:
    """Join a cluster, or begin one on this machine."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        ray.init("local", include_dashboard=False, object_store_memory=_LOCAL_STORE, **settings, **quiet)
        return
    _require_answer(address)
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterError(_name_nobody(address)) from error


@contextlib.contextmanager
def _keep_apart() -> Iterator[Mapping[str, Any]]:
    """Let the cluster that is begun here be reached by nobody else and leave nothing; give settings for it.

    Ray has few parameters for that. It listens on loopback alone where clusters of many machines are off. Its
    token, which keeps other users of this machine out, would be a file in the home folder. And its dashboard
    is started even when it is off, and then asks the network which cloud this is.
    """
    from ray._private import node, ray_constants
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    environment = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in (*environment, "RAY_AUTH_MODE")}
    process: Any = node.Node
    many, dashboard = ray_constants.ENABLE_RAY_CLUSTER, process.start_api_server
    folder = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="cortexia-", dir=folder if len(folder) <= _LONGEST_FOLDER else "/tmp")
    try:
        os.environ.update(environment)
        AuthenticationTokenLoader.instance().reset_cache()
        ray_constants.ENABLE_RAY_CLUSTER, process.start_api_server = False, lambda *_, **__: None
        yield {"_temp_dir": folder}
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, process.start_api_server = many, dashboard
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        AuthenticationTokenLoader.instance().reset_cache()
        shutil.rmtree(folder, ignore_errors=True)


def _require_answer(address: str) -> None:
    """Try an address first: Ray itself takes minutes to give up."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if address == "auto":
        return
    if not colon or not port.isdecimal():
        raise InputError(f"`address` must be auto or like 10.0.0.5:6379, not {address!r}")
    try:
        socket.create_connection((host, int(port)), _ANSWERS_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(_name_nobody(address)) from error


def _name_nobody(address: str) -> str:
    where = "on this machine" if address == "auto" else f"at {address}"
    remedy = "begin one with `ray start --head`, or leave `address` out to begin one here"
    return f"no Ray cluster answers {where}: {remedy}"


def _find_room(ray: Any, asked: int | None, gpus: float | None) -> tuple[int, float]:
    """Return the number of workers and the GPUs of each; `ClusterError` where no machine has room for one."""
    machines = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    if gpus is None:
        gpus = 1 if any(each.get("GPU") for each in machines) else 0
    kind, share = ("GPU", gpus) if gpus else ("CPU", 1)
    room = sum(int(each.get(kind, 0) // share) for each in machines)
    if not room:
        remedy = "give `gpus_per_worker=0` to work without" if gpus else "add machines"
        raise ClusterError(f"no machine of the cluster has {share:g} {kind} for a worker: {remedy}")
    usual = room if gpus else sum(1 for each in machines if each.get("CPU"))
    if asked and asked > room:
        _log.warning("the cluster has room for %d of %d workers", room, asked)
    return min(asked or usual, room), gpus


def _ask_worker(
    ray: Any, resources: Mapping[str, Any], order: RunSpec, first: Sequence[InputFile]
) -> Mapping[str, object] | str:
    ask = ray.remote(settle_settings).options(max_retries=0, **resources)
    with _as_cluster_error():
        settings: Mapping[str, object] | str = ray.get(ask.remote(order, first))
    return settings


@contextlib.contextmanager
def _as_cluster_error() -> Iterator[None]:
    """Put what Ray raises in one line."""
    try:
        yield
    except (CortexiaError, GeneratorExit):
        raise
    except Exception as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, CortexiaError):
            raise cause from error
        words = " ".join(str(cause).split())[-300:]
        raise ClusterError(
            f"the cluster failed ({type(cause).__name__}: {words}); what is done is kept: run it again"
        ) from error


def _make_absolute(order: RunSpec) -> Any:
    """Return the root as workers see it: they may stand in another folder."""
    return order.root if isinstance(order.root, RemotePath) else order.root.absolute()


def _count_cores() -> int:
    ray = _import_ray()
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
