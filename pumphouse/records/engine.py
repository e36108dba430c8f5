"""papermill's engine ``pumphouse``: executes a notebook and writes down what really happened.

papermill's own bookkeeping marks a cell whose kernel died, and all cells after it, ``completed``, and leaves
``metadata.papermill.exception`` empty. Here a cell is ``completed`` only if it ran to its end, ``failed`` if it
did not, ``skipped`` if its tag says so and ``pending`` if the run never came to it; the notebook's ``exception`` is
true whenever the last cell was not reached and left in good order.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from traitlets.config import Config

from pumphouse.clouds.http import RATE_WORDS
from pumphouse.errors import RunbookError
from pumphouse.records import sheet as sheets
from pumphouse.records.sheet import Sheet, Template, write_sheet
from pumphouse.records.stop import TIMEOUT, StopRequest

log = logging.getLogger("pumphouse.records")
log.addHandler(logging.NullHandler())  # without one, Python prints nbclient's warnings on the terminal

SKIP_TAG = "skip-execution"
#: Cells whose lines are passed on: what acts, and what its approval is said against.
TOLD_TAGS = frozenset({"ph-action", "ph-gate"})
_STOPPED = "Stopped"
#: So many findings are named one by one where there is room for a line.
_NAMED = 3
_REFUSALS = {
    "ChecksFailed": "a check blocks",
    "ApprovalMissing": "no approval is bound to this plan",
    "PlanHeld": "another run is carrying out this plan",
}
_SOCKET_PATH_LIMIT = 90  # Linux allows 107 bytes; five socket names of "-ipc-N" are added


@dataclass(frozen=True)
class Ending:
    """How an execution ended, seen from outside the kernel.

    ``kind`` is ``finished`` (every cell ran), ``cell-error``, ``kernel-died``, ``timeout``, ``signal`` or ``engine``
    (the runner itself could not go on); ``cell`` counts from 1 within the template.
    """

    kind: str
    detail: str = ""
    cell: int | None = None
    error_name: str = ""


@dataclass(frozen=True)
class Progress:
    """A code cell has begun (``running``), printed a line (``output``, in ``text``) or ended (status as in the record).

    Lines are told of actions only; ``text`` is not redacted yet.
    """

    cell: int
    cells: int
    heading: str
    status: str
    seconds: float | None = None
    text: str = ""


def conclude_from_ending(ending: Ending) -> tuple[str, str]:
    """Result and detail when there is no journal to ask: finished is all that can be vouched for."""
    match ending.kind:
        case "finished":
            return sheets.SUCCEEDED, f"No journal was asked. {ending.detail}".strip()
        case "cell-error" if ending.error_name in _REFUSALS:
            return sheets.REFUSED, ending.detail
        case "cell-error" if ending.error_name == _STOPPED:
            return sheets.ABORTED, ending.detail
        case "cell-error":
            return sheets.FAILED, ending.detail
        case "signal":
            return sheets.ABORTED, ending.detail
        case _:
            return sheets.INTERRUPTED, ending.detail


@dataclass
class Execution:
    """What the caller knows and wants; passed to the engine as ``execution=``.

    :param sheet: the cover sheet at the start; replaced by the final one when the notebook has ended.
    :param conclude: turns the ending into (result, detail); this is where the journal is asked.
    :param environment: variables added to the kernel's.
    :param kernel_dir: the kernel's working directory.
    :param stop: stops the kernel; shared with whoever handles signals.
    :param reporter: told of every code cell's start and end, and of the lines that an action prints meanwhile.
    :param ending: set by the engine.
    """

    sheet: Sheet
    conclude: Callable[[Ending], tuple[str, str]] = conclude_from_ending
    environment: Mapping[str, str] = field(default_factory=dict)
    kernel_dir: Path | None = None
    stop: StopRequest = field(default_factory=StopRequest)
    reporter: Callable[[Progress], None] | None = None
    ending: Ending | None = None


class NotebookStopped(RunbookError):
    """The notebook did not run to its last cell; the record says why."""


class RecordEngine(NBClientEngine):  # type: ignore[misc]
    """papermill's engine ``pumphouse`` (entry point); without an :class:`Execution` it works, but asks no journal."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool | Mapping[str, Any] = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        execution: Execution | None = None,
        **kwargs: Any,
    ) -> Any:
        """Execute and save; the record is final when this returns or raises.

        :raises NotebookStopped: when the last cell was not reached and left in good order.
        """
        execution = execution or _standalone(nb, kwargs.pop("input_path", None))
        manager = _Manager(nb, output_path, progress_bar, log_output, autosave_cell_every, execution)
        nb.metadata.papermill["input_path"] = execution.sheet.template.path
        write_sheet(nb, execution.sheet)
        manager.notebook_start()
        problem: BaseException | None = None
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, execution=execution, **kwargs)
        except BaseException as error:  # noqa: BLE001 (whatever ends the run must be written down, then goes on)
            problem = error
        ending = _ending(manager, execution, problem)
        execution.ending = ending
        execution.sheet = execution.sheet.ended(*execution.conclude(ending))
        write_sheet(manager.nb, execution.sheet)
        manager.close(ending)
        if ending.kind != "finished":
            raise NotebookStopped(
                f"Notebook {execution.sheet.template.path}: {execution.sheet.detail}",
                remedy="open the record: the cell that ended the run is marked there.",
            ) from problem
        if problem is not None:
            log.warning("after the last cell: %s", problem)
        return manager.nb

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        execution: Execution | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the cells in a fresh kernel over private sockets (IPC where the path allows it)."""
        if execution is None:
            execution = nb_man.execution
        kwargs.pop("input_path", None)
        config = Config(kwargs.pop("config", None) or {})
        with _kernel_folder(config) as folder:
            client = _Client(
                nb_man,
                execution=execution,
                side_file=folder / "kernel.log",
                **kwargs,
                config=config,
                timeout=execution_timeout,
                startup_timeout=start_timeout,
                kernel_name=kernel_name,
                log=log,
                log_output=log_output,
                stdout_file=stdout_file,
                stderr_file=stderr_file,
            )
            return contextvars.copy_context().run(_with_own_loop, client.execute)


class _Manager(NotebookExecutionManager):  # type: ignore[misc]
    """papermill's bookkeeping, made truthful."""

    def __init__(
        self,
        nb: Any,
        output_path: str | None,
        progress_bar: Any,
        log_output: bool,
        autosave_s: int,
        execution: Execution,
    ) -> None:
        super().__init__(
            nb,
            output_path=output_path,
            progress_bar=progress_bar,
            log_output=log_output,
            autosave_cell_every=autosave_s,
        )
        self.execution = execution
        self.current: int | None = None
        self.left_last_cell = False
        self.error: CellExecutionError | None = None
        self.kernel_said = ""
        self._unfinished = ""

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        self.current = cell_index
        self._unfinished = ""
        super().cell_start(cell, cell_index, **kwargs)
        self._report(cell, "running", None)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        if cell.metadata.papermill["status"] == self.RUNNING and SKIP_TAG in cell.metadata.get("tags", []):
            cell.metadata.papermill["status"] = "skipped"
        super().cell_complete(cell, cell_index, **kwargs)
        status = cell.metadata.papermill["status"]
        self._report(cell, status, cell.metadata.papermill.get("duration"))
        self.left_last_cell = status != self.FAILED and cell_index == len(self.nb.cells) - 1

    def notebook_complete(self, **_kwargs: Any) -> None:
        """Nothing: papermill would mark every cell that never ran ``completed``; :meth:`close` ends the record."""

    def close(self, ending: Ending) -> None:
        """Write the end of the run into papermill's own metadata and save for the last time."""
        self.end_time = self.now()
        facts = self.nb.metadata.papermill
        facts["end_time"] = self.end_time.isoformat()
        facts["duration"] = (self.end_time - self.start_time).total_seconds()
        facts["exception"] = True if ending.kind != "finished" else None
        self.cleanup_pbar()
        self.save()

    def cell_says(self, cell: Any, text: str) -> None:
        """Pass on what an action prints, line by line; half a line waits for its rest."""
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            self._report(cell, "output", None, line)

    def _report(self, cell: Any, status: str, seconds: float | None, text: str = "") -> None:
        reporter = self.execution.reporter
        if reporter is None or cell.get("cell_type") != "code" or not cell.source.strip():
            return
        code = [c for c in self.nb.cells if c.get("cell_type") == "code" and c.source.strip()]
        number = next((n for n, c in enumerate(code, 1) if c is cell), len(code))
        reporter(Progress(number, len(code), _heading(self.nb.cells, self.current or 0), status, seconds, text))


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """nbclient, with an orderly way to stop and a note of why."""

    def __init__(self, nb_man: _Manager, *, execution: Execution, side_file: Path, **kwargs: Any) -> None:
        super().__init__(nb_man, **kwargs)
        self.execution = execution
        self.side_file = side_file
        # a tag in the notebook must not be able to hide a failure
        self.force_raise_errors = True
        self.coalesce_streams = True

    def execute(self, **kwargs: Any) -> Any:
        self.reset_execution_trackers()
        if self.execution.kernel_dir is not None:
            kwargs.setdefault("cwd", str(self.execution.kernel_dir))
        kwargs["env"] = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1", **self.execution.environment}
        with self.side_file.open("wb") as side:
            # what the kernel process itself prints (start-up warnings, a crash's last words) is kept off the terminal
            kwargs |= {"stdout": side, "stderr": side}
            try:
                with self.setup_kernel(**kwargs):
                    self.execution.stop.attach(self.km.provisioner)
                    try:
                        reply = self.wait_for_reply(self.kc.kernel_info())
                        self.nb.metadata["language_info"] = reply["content"]["language_info"]
                        self.run_cells()
                    finally:
                        self.execution.stop.detach()
            finally:
                self.nb_man.kernel_said = _tail(self.side_file)
        return self.nb

    def run_cells(self) -> None:
        """Run the cells in order until one fails or somebody asks to stop."""
        for index, cell in enumerate(self.nb.cells):
            if self.execution.stop.requested:
                return
            self.nb_man.cell_start(cell, index)
            try:
                self.execution.stop.cell_begins()
                self.execute_cell(cell, index)
            except CellExecutionError as error:
                self.nb_man.error = error
                self.nb_man.cell_exception(self.nb.cells[index], cell_index=index, exception=error)
                return
            except BaseException as error:
                self.nb_man.cell_exception(self.nb.cells[index], cell_index=index, exception=error)
                raise
            finally:
                self.execution.stop.cell_ended()
                self.nb_man.cell_complete(self.nb.cells[index], cell_index=index)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """As nbclient does; what actions and gates print is passed on at once, and why others wait for a cloud."""
        output = super().process_message(msg, cell, cell_index)
        if msg["msg_type"] == "stream":
            text = msg["content"]["text"]
            if TOLD_TAGS.isdisjoint(cell.metadata.get("tags", [])):
                text = "".join(line for line in text.splitlines(keepends=True) if RATE_WORDS in line)
            self.nb_man.cell_says(cell, text)
        return output

    async def _async_handle_timeout(self, timeout: int, cell: Any = None) -> None:
        """Interrupt instead of walking away: the cell's own clean-up runs and its traceback gets into the record."""
        if cell is None:
            raise CellTimeoutError(f"no answer from the kernel within {timeout} s")
        if not self.execution.stop.requested:
            self.execution.stop.request(TIMEOUT, f"it ran longer than the limit of {timeout} s a cell")
        await asyncio.sleep(0)


def _ending(manager: _Manager, execution: Execution, problem: BaseException | None) -> Ending:
    if manager.left_last_cell:
        late = f"{execution.stop.reason} arrived while the last cell was finishing." if execution.stop.requested else ""
        return Ending("finished", late)
    number = _template_number(manager.nb.cells, manager.current)
    heading = _heading(manager.nb.cells, manager.current or 0)
    where = f"Cell {number} ({heading})" if number else "Before the first cell"
    stop = execution.stop
    if stop.requested:
        killed = " The kernel did not react and was killed." if isinstance(problem, DeadKernelError) else ""
        if stop.kind == TIMEOUT:
            return Ending("timeout", f"{where}: {stop.reason}.{killed}", number)
        return Ending("signal", f"{where}: stopped by {stop.reason}.{killed}", number)
    if manager.error is not None:
        name, value = manager.error.ename, _summary(manager.error.ename, str(manager.error.evalue))
        if name == "SystemExit":
            return Ending("cell-error", f"{where}: left the notebook early with sys.exit({value}).", number, name)
        said = _REFUSALS.get(name, name)
        return Ending("cell-error", f"{where}: {said}: {_cut(value, 600)}", number, name)
    if isinstance(problem, DeadKernelError):
        last = f" It last said: {manager.kernel_said}" if manager.kernel_said else ""
        return Ending("kernel-died", f"{where}: the kernel died.{last}", number)
    if isinstance(problem, CellTimeoutError):
        return Ending("timeout", f"{where}: {' '.join(str(problem).split())[:300]}", number)
    if isinstance(problem, KeyboardInterrupt):
        return Ending("signal", f"{where}: stopped by SIGINT.", number)
    if isinstance(problem, RunbookError):
        return Ending("engine", f"{where}: {problem}", number)
    return Ending("engine", f"{where}: {type(problem).__name__}: {' '.join(str(problem).split())[:600]}", number)


def _summary(name: str, said: str) -> str:
    """What a cell's error said, in one line; of a check's findings only what they are of."""
    head, *lines = said.splitlines() or [""]
    objects = [line.strip(" -").partition(": ")[0] for line in lines if line.startswith("  - [")]
    if name == "ChecksFailed" and objects:
        codes = [one.partition("]")[0].strip("[") for one in objects]
        counts = [f"{codes.count(code)} {code}" for code in dict.fromkeys(codes)]
        return f"{head} {'; '.join(objects) if len(objects) <= _NAMED else ', '.join(counts)}."
    return " ".join(said.split())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _with_own_loop(work: Callable[[], Any]) -> Any:
    """Run nbclient's blocking calls on an event loop that is closed afterwards.

    jupyter_core makes one per thread and leaves it open; it keeps it in a context variable, so this has to be called
    in a context of its own.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = ensure_event_loop()
    else:
        return work()  # called from within a loop (a notebook): jupyter_core moves the work to a thread of its own
    try:
        return work()
    finally:
        loop.close()
        asyncio.set_event_loop(None)


@contextlib.contextmanager
def _kernel_folder(config: Any) -> Iterator[Path]:
    """A private folder for the kernel's sockets and its last words."""
    folder = Path(tempfile.mkdtemp(prefix="ph-"))
    try:
        connection = folder / "k.json"
        if len(str(connection)) <= _SOCKET_PATH_LIMIT:
            config.KernelManager.setdefault("transport", "ipc")
        config.KernelManager.setdefault("connection_file", str(connection))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _standalone(nb: Any, input_path: Any) -> Execution:
    """For ``papermill --engine pumphouse`` without a runner: what can be known from here."""
    file = Path(input_path) if isinstance(input_path, str) and Path(input_path).is_file() else None
    template = Template.of(file) if file else Template("(not a file)", "")
    given = dict(nb.metadata.get("papermill", {}).get("parameters", {}))
    now = datetime.now(UTC)
    return Execution(Sheet(f"standalone-{now:%Y%m%dT%H%M%S}", template, sheets.current_operator(), now, given))


def _template_number(cells: list[Any], index: int | None) -> int | None:
    """The cell's number in the template, which has neither our summary nor papermill's parameters cell."""
    if not index:
        return None
    added = {sheets.SUMMARY_ID, "injected-parameters"}
    return sum(1 for cell in cells[: index + 1] if not added & set(cell.metadata.get("tags", [])))


def _heading(cells: list[Any], index: int) -> str:
    """The nearest markdown heading at or above a cell."""
    for cell in reversed(cells[1 : index + 1]):
        if cell.get("cell_type") == "markdown":
            titles = [line.lstrip("#").strip() for line in cell["source"].splitlines() if line.startswith("#")]
            if titles:
                return str(titles[-1])
    return "no heading"


def _tail(file: Path, limit: int = 300) -> str:
    try:
        said = file.read_bytes()[-4 * limit :].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " / ".join(lines[-3:])[:limit]


__all__ = [
    "Ending",
    "Execution",
    "NotebookStopped",
    "Progress",
    "RecordEngine",
    "conclude_from_ending",
]
