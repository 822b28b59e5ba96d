"""The probe: a model, a choice of layers, analyzers; attached, run, asked for results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch

from torchprobe import compat, distributed
from torchprobe.buffers import those_of_the_first
from torchprobe.checkpoint import Checkpoint
from torchprobe.configured import configured
from torchprobe.course import Course
from torchprobe.design import Design
from torchprobe.errors import (
    AttachError,
    CompileError,
    SettingError,
)
from torchprobe.groupings import OfLayer
from torchprobe.hooks import HookManager
from torchprobe.labels import Labels
from torchprobe.loading import Batch, device_of, eval_mode, moved, unpack
from torchprobe.matching import Rules
from torchprobe.naming import canonical_names, root_name
from torchprobe.objective import Objective
from torchprobe.options import Options
from torchprobe.receptive_fields import Book
from torchprobe.record import Record
from torchprobe.sample_ids import SampleIds
from torchprobe.sandbox import all_generators_kept
from torchprobe.selection import Selector, select
from torchprobe.sensitivity import differentiable
from torchprobe.training_loss import TrainingLoss
from torchprobe.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    from torch import nn

    from torchprobe.axes import Axes
    from torchprobe.configured import AnalyzerLike
    from torchprobe.coverage import Coverage
    from torchprobe.distributed import Team
    from torchprobe.groupings import Grouping
    from torchprobe.layer import Layer
    from torchprobe.objective import ObjectiveLike
    from torchprobe.portions import Item
    from torchprobe.receptive_fields import Stated
    from torchprobe.results import Results
    from torchprobe.state import State

__all__ = ["Probe"]


class Probe:
    """Binds a model, a choice of layers and analyzers.

    While attached (``with probe:``, or during `run`) every forward pass is streamed to the
    analyzers; the model's outputs, gradients, random state and modes stay bit for bit what they
    would be. Nothing is left on the model afterwards.

    Args:
        model: any module.
        layers: names, globs (``"hidden.*"``), types, a predicate of (name, module), or a mixture;
            ``"input"`` is the model's input. By default every module without children.
        analyzers: names of installed analyzers, classes, configured instances, or a dictionary of
            these by a name of your own.
        axes: what axes mean where it cannot be inferred: ``{"block.*": "sample token channel"}``.
        positions: how the positions of layers lie over the input's, where that should not, or
            cannot, be measured: ``{"encoder.*": tp.positions.Map(stride=4, offset=3, field=15)}``,
            "identity" (one to one) or "ratio" (spread evenly over the input).
        labels_at: where labels per position are: "input", "output" or the name of a layer; or a
            dictionary of these by grouping. By default it is told by their number: one to one for
            a layer with as many positions; else they are the input's, or else the output's (the
            other way round for groupings computed from the output).
        lengths_at: which positions ``lengths`` count: those of the "input", the "output", a layer.
        label_rule: the label of a layer's position is that at the middle of its receptive field
            ("center") or the most frequent one within it ("majority"); a layer with as many
            positions as there are labels takes them one to one.
        mask_rule: a layer's position counts if the middle of its receptive field does ("center"),
            any position within ("any_valid") or all of them ("all_valid"; the input's borders
            count as masked, so that padding changes nothing).
        groupings: labels computed from the model's outputs: ``{"correct": tp.correct()}``.
        class_names: names of integer labels by grouping: ``{"label": ["a", "b"]}``; a plain list
            names those of the grouping "label".
        calls: a module called several times in one forward pass is one layer for each call
            ("separate": ``act``, ``act@2``) or one for all ("merge").
        max_calls: further calls of a module share the layer ``name@*``, so that memory stays
            constant in loops of any length.
        nonfinite: rows with NaN or infinity are left out and counted ("ignore"), kept
            ("propagate", which also saves a device synchronisation per layer), or an error
            ("raise").
        on_error: an analyzer that raises is left out with a warning ("disable") or its error
            reaches you ("raise").
        compile: a compiled model would skip hooks silently: refuse it ("error"), run it uncompiled
            while attached ("eager"), or drop all compiled code of the process so that it is
            compiled again ("reset").
        memory_budget: bytes of state that all analyzers together may need, half of the machine's
            memory by default. Where all layers would need more, `run` takes them in turns, each
            with its own passes over the loaders; where that cannot be done, it is an error.
        objective: what gradients are taken of, for analyzers that read them: the "predicted"
            class's score, that of the "label", the number of a class, a function of (outputs,
            labels) such as a loss, or an `Objective`, which says where the classes are; "training",
            or a `TrainingLoss`, for the loss whose backward pass a loop of your own runs.
        distributed: under ``torch.distributed`` every process gathers its part, and `results` (as
            well as the end of each pass, where an analyzer needs it) merges them: "auto". With
            False each process keeps to itself, as it must where the processes hold parts of one
            model and see the same data (tensor or pipeline parallelism).
        distributed_timeout: seconds that a process waits for another to come to a merge. It must be
            longer than the fastest may be ahead of the slowest, and is what you wait for an error
            when one was killed.

    Raises:
        LayerNotFoundError: a layer or analyzer does not exist; says what it may have meant.
        SettingError: an option has a value that is not allowed.

    Example:
        >>> import torch, torchprobe as tp
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> with tp.Probe(model, layers=torch.nn.ReLU, analyzers=["class_selectivity"]) as probe:
        ...     with probe.batch(labels=torch.tensor([0, 1, 0])):
        ...         _ = model(torch.ones(3, 4))
        >>> probe.results()["class_selectivity"]["1"].csv.shape
        (2, 3)
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Selector | None = None,
        analyzers: Iterable[AnalyzerLike] | Mapping[str, AnalyzerLike] = (),
        *,
        axes: Mapping[str, str | Axes] | None = None,
        positions: Mapping[str, Stated] | None = None,
        labels_at: str | Mapping[str, str] | None = None,
        lengths_at: str = "input",
        label_rule: str = "center",
        mask_rule: str = "center",
        groupings: Mapping[str, Grouping] | None = None,
        class_names: Mapping[str, Any] | Iterable[str] | None = None,
        calls: str = "separate",
        max_calls: int = 16,
        nonfinite: str = "ignore",
        on_error: str = "disable",
        compile: str = "error",  # noqa: A002 - the field's word
        memory_budget: int | None = None,
        objective: ObjectiveLike = "predicted",
        distributed: Literal["auto", False] = "auto",
        distributed_timeout: float = 300.0,
    ) -> None:
        self.model = model
        self.selection = select(model, layers)
        self.analyzers = configured(analyzers)
        names, aim = _class_names(class_names), Objective.parse(objective)
        options = Options(
            calls,
            max_calls,
            nonfinite,
            on_error,
            compile,
            memory_budget,
            aim,
            distributed,
            distributed_timeout,
        )
        modules, computed = canonical_names(model), dict(groupings or {})
        places = _places(labels_at, computed)
        rules = Rules(places, lengths_at, label_rule, mask_rule, frozenset(computed))
        self._record = Record(
            Design(
                model=model,
                modules=modules,
                selection=self.selection,
                lenient=layers is None,
                analyzers=self.analyzers,
                axes=dict(axes or {}),
                groupings=computed,
                class_names=names,
                book=Book(model, positions or {}, rules),
                options=options,
            )
        )
        self._hooks: HookManager | None = None
        self._stance: Any = None

    # -- lifetime

    def reset(self) -> None:
        """Forget everything seen.

        Raises:
            AttachError: the probe is attached.
        """
        if self.attached:
            raise AttachError("detach the probe before resetting it")
        self._record.reset()

    @property
    def attached(self) -> bool:
        """Whether hooks are on the model."""
        return self._hooks is not None

    def renew(self) -> None:
        """Forget everything seen, but not what was learned of the layers.

        Unlike after `reset` the next forward pass costs no more than the one before, and samples
        are numbered on: for results of one stretch of a training after another.

        Raises:
            AttachError: the probe is attached.
        """
        if self.attached:
            raise AttachError("detach the probe before renewing it")
        self._record.renew()

    @property
    def objective(self) -> Objective | TrainingLoss:
        """What gradients are taken of; of a `TrainingLoss` the scale can be told later."""
        return self._record.design.options.objective  # type: ignore[no-any-return]

    @objective.setter
    def objective(self, objective: ObjectiveLike) -> None:
        self._record.aim(Objective.parse(objective))

    @property
    def compiles(self) -> str:
        """What is done about a compiled model: the option ``compile``."""
        return self._record.design.options.compile

    def attach(self, *, admits: Callable[[], bool] = lambda: True) -> Self:
        """Start listening; prefer ``with probe:``, which also detaches.

        Args:
            admits: asked before a forward pass is listened to; one that is not is as if the probe
                were detached.

        Raises:
            AttachError: attached already, or nothing to attach to.
            CompileError: the model is compiled and ``compile="error"``.
        """
        if self.attached:
            raise AttachError("this probe is attached already; use one `with probe:` at a time")
        self._refuse_replicas()
        self._prepare_compiled()
        stream = self._record.stream
        listening = {**self._record.design.modules} if stream.discovering else self._hooked()
        self._hooks = HookManager(listening, stream, admits).attach()
        stream.discovered = lambda: self._hooks.narrow(self._hooked()) if self._hooks else None
        return self

    def detach(self) -> None:
        """Stop listening; what was gathered stays. Harmless when not attached."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None:
            hooks.detach()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        self._record.stream.settle(everything=True)

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def _hooked(self) -> dict[str, nn.Module]:
        """The modules that must be listened to once axes are known."""
        root = root_name(self.model)
        return {
            name: module
            for name, module in self._record.design.modules.items()
            if name in self.selection.modules or name == root
        }

    def _refuse_replicas(self) -> None:
        replicas = getattr(self.model, "device_ids", ()) or ()
        if type(self.model).__name__ == "DataParallel" and len(replicas) > 1:
            raise AttachError(
                "DataParallel runs copies of the model in threads that know nothing of each "
                "other's labels; probe model.module on one device, or use DistributedDataParallel"
            )

    def _prepare_compiled(self) -> None:
        modules = self._record.design.modules
        compiled = [name for name, module in modules.items() if compat.is_compiled(module)]
        compiled += [root_name(self.model)] if compat.is_compiled(self.model) else []
        if not compiled:
            return
        if self._record.design.options.compile == "error":
            raise CompileError(
                f"{compiled[0]!r} is compiled with torch.compile: hooks attached now would be "
                "ignored in silence. Probe the original module, or pass compile='eager' (runs it "
                "uncompiled while attached) or compile='reset' (recompiles, process-wide)"
            )
        if self._record.design.options.compile == "reset":
            torch._dynamo.reset()  # noqa: SLF001 - its documented name
            return
        self._stance = torch.compiler.set_stance("force_eager")
        self._stance.__enter__()

    # -- feeding

    @contextmanager
    def batch(
        self,
        labels: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        ids: Any = None,
        split: str = "fit",
    ) -> Iterator[None]:
        """Say what the forward passes inside are about.

        Args:
            labels: [sample] or [sample, *positions], integers or strings, or a dictionary of these
                by grouping; -1, -100 or None leaves a row out.
            lengths: valid positions of each sample, [sample].
            mask: which positions count, [sample, *positions] or [sample].
            ids: a stable integer for each sample, by which repeated samples are recognised.
            split: "fit", "score" or another that an analyzer uses.

        Raises:
            LabelError: malformed labels, lengths, mask or ids.
        """
        said = Labels(
            labels, lengths=lengths, mask=mask, ids=ids, names=self._record.stream.class_names
        )
        if split != self._record.phase[0]:
            self._record.enter(split, 0)
        try:
            with self._record.stream.speaking_of(said, split):
                yield
        finally:
            if self._hooks is not None:
                self._hooks.discard("interrupted")
        self._record.stream.settle()

    def next_pass(self) -> None:
        """Begin another pass over the same split, for analyzers that need to see it twice."""
        split, number = self._record.phase
        self._record.enter(split, number + 1)

    def run(
        self,
        fit: Iterable[Any] | None = None,
        /,
        *,
        device: torch.device | str | None = None,
        max_batches: int | None = None,
        progress: bool | None = None,
        unpack: Callable[[Any], Batch] = unpack,
        shard: bool = True,
        checkpoint: str | PathLike[str] | None = None,
        every: int = 100,
        **splits: Iterable[Any],
    ) -> Results:
        """Run the model over a loader in eval mode and compute all results.

        Nothing is recorded by autograd unless an analyzer asks for gradients; then inputs are
        copied, and no parameter's gradient is computed. Everything seen before is forgotten. The
        model's modes and all random generators are put back afterwards. When interrupted (Ctrl-C,
        an error in the loader or model) the error goes on to you, and `results` gives what was
        gathered, marked incomplete.

        Under ``torch.distributed`` every process calls this with the same loaders and gets the same
        results: those that one process would have. Of each loader every process sees its share of
        the batches, or what a DistributedSampler gives it, without the samples that this repeats.

        Args:
            fit: what the loader yields is understood by `torchprobe.unpack`: inputs, (inputs,
                labels), a mapping of keyword arguments, or a `torchprobe.Batch`.
            splits: further loaders by name: ``score=test_loader``; ``fit=`` is allowed too.
            device: where inputs go, by default where the model is.
            max_batches: stop each pass after so many, of all processes together.
            progress: show a progress bar; by default if the output is a terminal.
            unpack: turns what the loader yields into a `torchprobe.Batch`.
            shard: whether several processes share out the loaders; say False where each process's
                loader yields its own part of the data already.
            checkpoint: a folder in which to save how far the run is. A run that was killed goes on
                from there when it is started again in the same way, sees no batch twice and gives
                the same results; when it is over, what was saved is removed. Each of several
                processes has a folder in it.
            every: batches from one save to the next.

        Raises:
            SettingError: no loader, or one that cannot be read as often as an analyzer needs; the
                loaders of several processes, or of a run that is resumed, are not the same.
            EmptyStateError: the loaders yielded nothing that was recorded.
            DistributedError: another process failed, or did not come in time.
        """
        gradients = any("gradients" in each.signals for each in self.analyzers.values())
        if gradients and isinstance(self._record.design.options.objective, TrainingLoss):
            raise SettingError(
                "run() trains nothing, so that there are no gradients of a training loss; choose "
                "another objective, such as 'label', or attach the probe to a training loop"
            )
        loaders = dict(splits) if fit is None else {"fit": fit, **splits}
        if not loaders:
            raise SettingError("run() needs a loader: probe.run(loader) or run(fit=..., score=...)")
        phases = self._plan(loaders)
        team = self._record.team
        saved = None if checkpoint is None else self._checkpoint(checkpoint, every, team)
        course = Course(
            loaders,
            team=team,
            shard=shard,
            most=max_batches,
            progress=progress,
            unpack=unpack,
            checkpoint=saved,
        )
        self._begin(course, phases)
        where = torch.device(device) if device is not None else device_of(self.model)
        with (
            all_generators_kept(where),
            eval_mode(self.model),
            torch.no_grad(),
            those_of_the_first(self.model, team),
        ):
            while phases:
                with self:
                    for split, number in course.passes(phases):
                        self._record.enter(split, number, course.keep_found)
                        self._run_phase(course, split, where)
                phases = phases if self._next_turn() else []
            results = self.results()
        if saved is not None:
            saved.found.remove()
            saved.remove()
        return results

    def _begin(self, course: Course, phases: Sequence[tuple[str, int]]) -> None:
        """Forget what was seen, or know again what a run had seen that is gone on with."""
        self.reset()
        if course.shares:
            self._record.stream.ids = SampleIds()
        again = not any(isinstance(loader, Iterator) for loader in course.loaders.values())
        self._record.stream.forks.turns.allowed = again
        with distributed.telling(course.team):
            mine, found = course.resume(finds=self._record.design.finds)
            if found is None and mine is not None:
                self.load_state_dict(mine)
            elif found is not None:
                self._record.go_on(mine, found, phases[course.at.phase])

    def _checkpoint(self, folder: str | PathLike[str], every: int, team: Team | None) -> Checkpoint:
        """Where this process saves its run."""
        own = Path(folder) if team is None else Path(folder) / f"{team.rank}-of-{team.size}"
        return Checkpoint(own, every, self.model)

    def _next_turn(self) -> bool:
        """Keep what was found and begin again with the layers that wait, if there are any."""
        self._agree_on_turns()
        return self._record.next_turn()

    def _agree_on_turns(self) -> None:
        """Let all processes take the turns that those have planned that have seen data."""
        team, forks = self._record.team, self._record.stream.forks
        if team is None:
            return
        said = team.exchange(forks.turns.state(), "take turns")
        planned = [each for each in said if each["later"] or each["now"] is not None]
        if any(each != planned[0] for each in planned):
            raise SettingError(
                "the processes have room for different layers, so that these would not take the "
                "same turns; say how many bytes each may use: Probe(memory_budget=...)"
            )
        if planned:
            forks.turns = Turns.from_state(planned[0])

    def _plan(self, loaders: Mapping[str, Iterable[Any]]) -> list[tuple[str, int]]:
        """The passes to be made: "fit" as often as needed, then every other split once."""
        passes = max((each.passes for each in self.analyzers.values()), default=1)
        for split, loader in loaders.items():
            if not hasattr(loader, "__iter__"):
                raise SettingError(
                    f"{split}={loader!r} is not a loader: it cannot be iterated over"
                )
        if passes > 1 and isinstance(loaders.get("fit"), Iterator):
            raise SettingError(
                f"an analyzer needs {passes} passes over the data, but fit= is an iterator that "
                "can be read once; give a DataLoader or a list"
            )
        first = [("fit", number) for number in range(passes)] if "fit" in loaders else []
        return first + [(split, 0) for split in loaders if split != "fit"]

    def _run_phase(self, course: Course, split: str, device: torch.device) -> None:
        done, told = course.at.batches, f"probe {split}{self._record.stream.forks.turns}"
        try:
            with distributed.telling(course.team):
                for item in course.batches(split, told, self.state_dict):
                    batch = self._numbered(course.unpack(item.raw), item)
                    with self.batch(
                        batch.labels,
                        lengths=batch.lengths,
                        mask=batch.mask,
                        ids=batch.ids,
                        split=split,
                    ):
                        self._call(batch, device)
                    done += 1
        except BaseException as error:
            note = f"{split!r} ended after {done} batches: {type(error).__name__}"
            self.coverage.notes.append(note)
            raise

    def _numbered(self, batch: Batch, item: Item) -> Batch:
        """A batch whose samples have the numbers that they would have in a single process."""
        if batch.ids is not None:
            return batch
        if item.ids is not None:
            return replace(
                batch,
                ids=torch.tensor(item.ids) + self._record.stream.ids.enter(self._record.phase[0]),
            )
        if item.place is not None:
            self._record.stream.ids.seek(*self._record.phase, item.place)
        return batch

    def _call(self, batch: Batch, device: torch.device) -> None:
        """Call the model, recorded by autograd where gradients are wanted."""
        if not self._record.stream.forks.want("gradients", self._record.phase):
            batch.call(self.model, device)
            return
        with differentiable(self.model, moved(batch.inputs, device)) as inputs:
            replace(batch, inputs=inputs).call(self.model, device)

    # -- saving

    def state_dict(self, *, merged: bool = False) -> State:
        """All that was seen, as tensors and plain values: a copy to save, send or resume from.

        `torch.save` keeps it and ``torch.load(..., weights_only=True)`` reads it. It holds the
        accumulators of every analyzer, layer and grouping, the layers met, coverage, names of
        labels, and how far the run is; nothing of the model.

        Args:
            merged: what all processes have seen, where there are several, which must all ask for
                it; by default only what this one has.

        Raises:
            MergeError, DistributedError: the processes cannot be merged, or one has gone.

        Example:
            >>> import torch, torchprobe as tp
            >>> def made():
            ...     return tp.Probe(torch.nn.ReLU(), analyzers=["class_selectivity"])
            >>> data = [(torch.eye(3), torch.tensor([0, 1, 0]))]
            >>> probe = made()
            >>> _ = probe.run(data)
            >>> copy = made()
            >>> copy.load_state_dict(probe.state_dict())
            >>> copy.results() == probe.results()
            True
        """
        return self._record.state_dict(merged=merged)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Replace all that was seen by a state from `state_dict`, and go on from there.

        With several processes each loads its own part, or all load the same merged state, which
        the first process then holds for all.

        Args:
            saved: of a probe made with the same model, layers, analyzers and options; weights are
                not compared.

        Raises:
            AttachError: the probe is attached.
            MergeError: the state is of a probe that was made otherwise, of another version, or
                the part of another process; says what differs. What was seen before is kept.
        """
        if self.attached:
            raise AttachError("detach the probe before loading a state into it")
        self._record.load_state_dict(saved)

    # -- asking

    @property
    def coverage(self) -> Coverage:
        """Which layers were seen, how often, what was left out, and why."""
        return self._record.stream.coverage

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers met so far, by name, in the order of execution."""
        return dict(self._record.stream.layers)

    def results(self) -> Results:
        """The results of all analyzers for what was seen so far.

        Raises:
            EmptyStateError: nothing was recorded; says which layers never fired and why.
        """
        return self._record.results()

    def __repr__(self) -> str:
        layers = len(self.selection.modules) + bool(self.selection.input)
        state = "attached" if self.attached else "detached"
        return (
            f"Probe({type(self.model).__name__}, {layers} modules, "
            f"analyzers: {', '.join(self.analyzers) or 'none'}; {state}, "
            f"{self.coverage.forwards} forward passes seen)"
        )


def _places(
    labels_at: str | Mapping[str, str] | None, groupings: Mapping[str, Grouping]
) -> dict[str, str] | str | None:
    """Where labels are: as the user says, else at the layer that they are computed from."""
    if isinstance(labels_at, str):
        return labels_at
    of_layers = {name: each.layer for name, each in groupings.items() if isinstance(each, OfLayer)}
    return {**of_layers, **(labels_at or {})}


def _class_names(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if hasattr(given, "items"):
        return dict(given)
    return {"label": list(given)}
