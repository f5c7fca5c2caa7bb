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
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from types import TracebackType
from typing import Any, NamedTuple, Self

from cortexia_video.depth_estimation import DepthEstimator, ModelResult
from cortexia_video.errors import (
    CortexiaError,
    Failure,
    InputError,
    ModelError,
    OutputLostError,
    explain_import,
    require_at_least_1,
)
from cortexia_video.inference.backend_selection import LONG_RUN, read_config
from cortexia_video.jobs.estimate import LookAhead, RunContext, RunSpec
from cortexia_video.jobs.worker import Worker
from cortexia_video.ledger.entries import ItemDone
from cortexia_video.runtime.resources import Usage
from cortexia_video.runtime.trace import ChromeTrace, Span, TraceBuffer
from cortexia_video.sinks.sink import open_sink
from cortexia_video.sources.find import Found, InputFile
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath

_BLOCK = 64  # inputs that a worker takes at once; the most that one dying process takes with it is two blocks
_COMPARED_ON = 16  # inputs, at most, that are tried for images to compare a backend on
_WAVE = 20_000  # inputs a worker, after which the workers begin anew: so much is kept in memory
_ANSWERS_S = 3.0  # for which an address may take to answer
_HEARD_S = 0.5  # after which a worker knows that the run is to end
_ENDING_S = 20.0  # for which processes that were told to end may take, on a busy machine
_ALONE = 2  # times that an input must end its process alone, to be left out
_LOCAL_STORE = 1 << 28  # bytes of shared memory of a cluster of our own: blocks are small
_LONGEST_FOLDER = 20  # bytes, of a folder in which Ray's sockets can be: their names have 107 at most
_DIED = "the process that worked on it died, also when it worked on nothing else: try it on one machine"

_log = logging.getLogger(__name__)


class ClusterError(CortexiaError):
    """A cluster cannot be reached, has no room, or ended while a run was on."""


class RayExecutor:
    """An `Executor`: workers on the machines of a Ray cluster, or of one that lasts while this is entered.

    Args:
        address: auto: the Ray cluster that this machine is part of; 10.0.0.5:6379: that one. Without it one
            begins here, and ends with the run.
        num_workers: Processes with a model each. By default one per GPU, or, without GPUs, one per machine.
        gpus_per_worker: GPUs of each of these processes; 1 by default where there are any.

    Raises:
        MissingExtraError: On entering, without Ray.
        ClusterError: On entering, where no cluster answers; in `prepare`, where no machine has room for a
            worker.
    """

    claims_ahead = True

    def __init__(
        self,
        *,
        address: str | None = None,
        num_workers: int | None = None,
        gpus_per_worker: float | None = None,
    ) -> None:
        if num_workers is not None:
            require_at_least_1(num_workers=num_workers)
        if gpus_per_worker is not None and gpus_per_worker < 0:
            raise InputError(f"`gpus_per_worker` must be at least 0, got {gpus_per_worker}")
        self._address = address
        self._asked = num_workers
        self._gpus = gpus_per_worker
        self._end = contextlib.ExitStack()
        self._usages: dict[str, Usage] = {}  # the last of each worker
        self._after_end = contextlib.ExitStack()

    def __enter__(self) -> Self:
        ray = _import_ray()
        if ray.is_initialized():
            return self
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        with contextlib.ExitStack() as stack:
            if self._address is None:  # a cluster of its own begins here
                options |= {"include_dashboard": False, "object_store_memory": _LOCAL_STORE}
                options |= stack.enter_context(_keep_apart())
            stack.callback(ray.shutdown)
            host, colon, port = (self._address or "local").rpartition("//")[2].rpartition(":")
            is_near = self._address in (None, "auto")
            if not is_near and not (colon and port.isdecimal()):
                raise InputError(f"`address` must be auto or like 10.0.0.5:6379, got {self._address!r}")
            try:
                if not is_near:  # Ray itself takes minutes to give up
                    socket.create_connection((host, int(port)), _ANSWERS_S).close()
                ray.init(self._address or "local", **options)
            except (OSError, OverflowError, RuntimeError, ValueError, TimeoutError) as error:
                if self._address is None:
                    raise
                where = "on this machine" if is_near else f"at {self._address}"
                remedy = "start one with `ray start --head`, or leave `address` out to start one here"
                raise ClusterError(f"no Ray cluster answers {where}: {remedy}") from error
            self._end = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()
        self._after_end.close()

    def prepare(self, spec: RunSpec, inputs: LookAhead) -> Mapping[str, object]:
        """Find room for the workers, and let one load the model, to say what the outputs depend on.

        It also chooses the backend, where none is named, for all of them.
        """
        ray = _import_ray()
        if not isinstance(spec.root, RemotePath):  # workers may stand in another folder
            spec = replace(spec, root=spec.root.absolute())
            self._after_end.callback(_take_away_partial_folder, spec.root)
        self._spec = spec
        machines = [each["Resources"] for each in ray.nodes() if each["Alive"]]
        if self._gpus is None:
            self._gpus = 1 if any(each.get("GPU") for each in machines) else 0
        kind, share = ("GPU", self._gpus) if self._gpus else ("CPU", 1)
        room = sum(int(each.get(kind, 0) // share) for each in machines)
        if not room:
            remedy = "give `gpus_per_worker=0` to work without" if self._gpus else "add machines"
            raise ClusterError(f"no machine of the cluster has {share:g} {kind} for a worker: {remedy}")
        usual = room if self._gpus else sum(1 for each in machines if each.get("CPU"))
        if self._asked and self._asked > room:
            _log.warning("the cluster has room for %d of %d workers", room, self._asked)
        self._count = min(self._asked or usual, room)
        if not isinstance(spec.model, str):  # it is here, loaded
            return spec.describe(spec.load()[1][0])
        most = LONG_RUN if spec.may_choose(inputs) else _COMPARED_ON
        first = [*islice(inputs.look(), most)]
        ask = ray.remote(_load_settings).options(max_retries=0, **self._resources)
        with _as_cluster_error():
            answer: tuple[Mapping[str, object], Mapping[str, str]] | str = ray.get(ask.remote(spec, first))
        if isinstance(answer, str):
            raise ModelError(answer)
        settings, chosen = answer
        self._spec = replace(spec, asked={**spec.asked, **chosen})
        return settings

    def run(
        self, items: Iterator[InputFile], context: RunContext
    ) -> Generator[tuple[InputFile, ItemDone | Failure], None, None]:
        """Yield inputs with their outcomes: block by block, then those lost with a process one by one."""
        with _pass_on(context.stop) as self._mark:
            yield from self._run_waves(items, context.trace, context.stop)

    def _run_waves(
        self, items: Iterator[InputFile], trace: ChromeTrace | None, stop: threading.Event
    ) -> Iterator[tuple[InputFile, ItemDone | Failure]]:
        self._usages = {}
        while left := {item.key: item for item in islice(items, _WAVE * self._count)}:
            # a block is an archive, or so few inputs that all have work
            spread = min(_BLOCK, math.ceil(len(left) / (4 * self._count)))
            size = self._spec.packing.size if self._spec.packing else spread
            yield from self._run_blocks(left, size, 2, trace, stop)
            for _ in range(_ALONE):
                if left and not stop.is_set():
                    _log.warning("%d inputs were lost with a process or a machine: once more", len(left))
                    yield from self._run_blocks(left, 1, 1, trace, stop)
            if stop.is_set():
                return
            for item in left.values():
                yield item, Failure(item.key, "estimate", CortexiaError(_DIED))

    def usage(self) -> Usage:
        used = [*self._usages.values()]
        return Usage(
            seconds=_add(each.seconds for each in used),
            core_seconds=_add(each.core_seconds for each in used),
            device=used[-1].device if used else "cpu",
            devices=self._count,
            cores=max(1, int(_import_ray().cluster_resources().get("CPU", 1))),
            threads=self._count * self._spec.task.workers,
            batch_sizes={name: size for each in used for name, size in each.batch_sizes.items()},
        )

    @property
    def _resources(self) -> dict[str, Any]:
        """Return what a worker takes. With a GPU, no core is kept for it: the GPU is what is scarce."""
        return {"num_gpus": self._gpus, "num_cpus": 0} if self._gpus else {"num_cpus": 1}

    def _run_blocks(
        self,
        left: dict[str, InputFile],
        size: int,
        at_once: int,
        trace: ChromeTrace | None,
        stop: threading.Event,
    ) -> Iterator[tuple[InputFile, ItemDone | Failure]]:
        """Yield inputs with their outcomes and take them out of `left`; of blocks whose worker dies, nothing.

        After `stop` workers finish what their model has, and give back what they have not begun.
        size: inputs of a block. at_once: blocks in work in one process.
        """
        late = 0  # blocks after `stop`; of those that nobody began by then nothing is done
        items = [*left.values()]
        blocks = [items[begin : begin + size] for begin in range(0, len(items), size)]
        for block in self._map_blocks(blocks, at_once, trace is not None):
            if trace:
                for span in block.spans:
                    trace.write(span)
            known = self._usages.get(block.worker, block.usage)  # blocks may come in another order
            self._usages[block.worker] = max(
                known, block.usage, key=lambda each: sum(each.core_seconds.values())
            )
            for key, outcome in block.outcomes:
                if item := left.pop(key, None):  # twice: the first counts
                    yield item, outcome
            if block.lost:
                raise block.lost
            late += stop.is_set() and bool(block.outcomes)
            if late > self._count * at_once:  # they do not hear of it
                return

    def _map_blocks(
        self, blocks: Sequence[Sequence[InputFile]], at_once: int, traced: bool
    ) -> Iterator[_BlockDone]:
        ray = _import_ray()
        import pyarrow as pa
        from ray.data import ActorPoolStrategy, DataContext

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is lost is told by us
        context = DataContext.get_current()
        context.max_errored_blocks = -1
        context.enable_progress_bars = False
        tables = [pa.table({"block": pa.array([pickle.dumps(each)], pa.binary())}) for each in blocks]
        pool = ActorPoolStrategy(
            size=min(self._count, len(blocks)),
            max_tasks_in_flight_per_actor=at_once,
            max_concurrent_calls_per_actor=at_once,
            enable_true_multi_threading=True,
        )
        with warnings.catch_warnings():  # it is to go in Ray 2.64, and there is no other way to say it yet
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            results = ray.data.from_arrow(tables).map_batches(
                _RayWorker,
                fn_constructor_args=(self._spec, traced, self._mark),
                batch_size=None,
                batch_format="pyarrow",
                compute=pool,
                max_task_retries=0,  # a block that ended its worker is not tried as it is: it is taken apart
                **self._resources,
            )
        with _as_cluster_error():
            for table in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from (pickle.loads(each.as_py()) for each in table["done"])


class _BlockDone(NamedTuple):
    """What a worker made of a block. lost: why it ended early.

    usage: of the worker since it began. pieces: for the trace, since it was asked last.
    """

    worker: str
    outcomes: list[tuple[str, ItemDone | Failure]]
    lost: OutputLostError | None
    usage: Usage
    spans: list[Span]


class _RayWorker:
    """A `Worker` in a process of its own, which Ray Data calls with blocks of inputs, two at once."""

    def __init__(self, spec: RunSpec, traced: bool, mark: bytes) -> None:
        self._stop = threading.Event()
        threading.Thread(target=_listen, args=(mark, self._stop), daemon=True).start()
        estimators = [_SerialEstimator(each) for each in spec.load()[1]]
        spec.remember_limits(estimators[0])
        sink = contextlib.ExitStack().enter_context(spec.open_sink())  # until the process ends
        self._name = secrets.token_hex(8)
        self._trace = TraceBuffer()
        trace = self._trace if traced else None  # the ledger has inputs as begun since they were claimed
        self._worker = Worker(spec.task, estimators, sink, lambda key, names: None, trace)

    def __call__(self, table: Any) -> Any:
        """Turn pickled blocks into pickled `_BlockDone`, in tables."""
        import pyarrow as pa

        done = []
        for block in table["block"]:
            outcomes: list[tuple[str, ItemDone | Failure]] = []
            lost = None
            try:
                for item, outcome in self._worker.run(pickle.loads(block.as_py()), self._stop):
                    if isinstance(outcome, Failure):  # its error, with its cause, may not be one that travels
                        outcome = replace(outcome, error=CortexiaError(outcome.reason))
                    outcomes.append((item.key, outcome))
            except OutputLostError as error:
                lost = error
            made = _BlockDone(self._name, outcomes, lost, self._worker.usage(), self._trace.take())
            done.append(pickle.dumps(made))
        return pa.table({"done": pa.array(done, pa.binary())})


class _SerialEstimator(DepthEstimator):
    """An estimator whose model is called by one thread at a time."""

    def __init__(self, estimator: DepthEstimator) -> None:
        super().__init__(estimator.model, size=estimator.size, also=estimator.also, sky=estimator.sky)
        self.limits = estimator.limits
        self._running = threading.RLock()  # what does not fit is run again in halves

    def run(self, pixels: Any, estimate_fov: bool = False) -> list[ModelResult]:
        with self._running:
            return super().run(pixels, estimate_fov)

    def run_again(self, pixels: Any, estimate_fov: bool = False) -> list[ModelResult]:
        with self._running:
            return super().run_again(pixels, estimate_fov)


def _load_settings(
    spec: RunSpec, first: Sequence[Found]
) -> tuple[Mapping[str, object], Mapping[str, str]] | str:
    """Load the model once, on a worker: return what the outputs depend on, and the backend that all are to take.

    A text is what is wrong with it. A backend or precision that is not the reference's is compared on the first
    images, as on one machine.
    """
    try:
        selector, estimators = spec.load()
        chosen: Mapping[str, str] = {}
        inputs = LookAhead(iter(first), threading.Event())
        if spec.may_choose(inputs):
            selector, estimators = spec.choose_backend(estimators, inputs, goes_on=len(first) == LONG_RUN)
            config = read_config(estimators[0].model.settings, str(spec.model))
            chosen = config._asdict() if config.backend else {}  # a model that has none takes no such option
        if selector:
            spec.compare_backend(
                selector, estimators, [each for each in first if isinstance(each, InputFile)]
            )
        return spec.describe(estimators[0]), chosen
    except CortexiaError as error:
        return str(error)


@contextlib.contextmanager
def _pass_on(stop: threading.Event) -> Iterator[bytes]:
    """Let workers on all machines learn that `stop` is set, by the mark that this yields, in Ray's own store."""
    from ray.experimental import internal_kv

    mark, is_over = f"cortexia-stop-{secrets.token_hex(8)}".encode(), threading.Event()

    def watch() -> None:
        while not (is_over.is_set() or stop.wait(_HEARD_S)):
            pass
        with contextlib.suppress(Exception):  # a cluster that has gone
            if not is_over.is_set():
                internal_kv._internal_kv_put(mark, b"set")

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield mark
    finally:
        is_over.set()
        with contextlib.suppress(Exception):
            internal_kv._internal_kv_del(mark)


def _listen(mark: bytes, stop: threading.Event) -> None:
    """Set `stop` once there is a mark of `_pass_on`."""
    from ray.experimental import internal_kv

    while not stop.wait(_HEARD_S):
        with contextlib.suppress(Exception):  # the next time, or the process ends with its cluster
            if internal_kv._internal_kv_get(mark):
                stop.set()


def _take_away_partial_folder(root: AnyPath) -> None:
    """Enter and leave the output once more: its workers are killed by Ray before they leave it."""
    sink = open_sink(root)
    end = time.monotonic() + _ENDING_S
    while sink.partial and sink.partial.exists() and time.monotonic() < end:
        with contextlib.suppress(CortexiaError), sink:
            time.sleep(0.05)


def _add(stages: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for name, seconds in chain.from_iterable(each.items() for each in stages):
        total[name] = total.get(name, 0.0) + seconds
    return total


def _import_ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of a change to come
    try:
        import ray
        import ray.data
    except ImportError as error:
        needs = "'cortexia-video[distributed]'"
        raise explain_import(error, "the executor ray needs", needs) from error
    return ray


@contextlib.contextmanager
def _keep_apart() -> Iterator[Mapping[str, Any]]:
    """Let the cluster that is begun here be reached by nobody else and leave nothing; return settings for it.

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


@contextlib.contextmanager
def _as_cluster_error() -> Iterator[None]:
    """Return what Ray raises in one line."""
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
