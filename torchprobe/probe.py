"""The probe: a model, a choice of layers, analyzers; attached, run, asked for results."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

from torchprobe.attachment import Attachment
from torchprobe.checkpoint import Checkpoint
from torchprobe.configured import configured
from torchprobe.course import Course
from torchprobe.design import Design
from torchprobe.errors import AttachError, SettingError
from torchprobe.groupings import OfLayer
from torchprobe.labels import Labels
from torchprobe.loading import Batch, unpack
from torchprobe.matching import Rules
from torchprobe.naming import canonical_names
from torchprobe.objective import Objective
from torchprobe.options import Options
from torchprobe.receptive_fields import Book
from torchprobe.record import Record
from torchprobe.run import Run
from torchprobe.selection import Selector, select
from torchprobe.training_loss import TrainingLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike
    from types import TracebackType

    import torch
    from torch import nn

    from torchprobe.axes import Axes
    from torchprobe.configured import AnalyzerLike
    from torchprobe.coverage import Coverage
    from torchprobe.groupings import Grouping
    from torchprobe.layer import Layer
    from torchprobe.objective import ObjectiveLike
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
        self._attachment = Attachment(self._record)

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
        return self._attachment.attached

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
        self._attachment.attach(admits)
        return self

    def detach(self) -> None:
        """Stop listening; what was gathered stays. Harmless when not attached."""
        self._attachment.detach()

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

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
        names = self._record.stream.class_names
        said = Labels(labels, lengths=lengths, mask=mask, ids=ids, names=names)
        with self._attachment.batch(said, split):
            yield

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
        team, saved = self._record.team, None
        if checkpoint is not None:
            saved = Checkpoint.of_process(checkpoint, every, self.model, team)
        course = Course(
            loaders,
            team=team,
            shard=shard,
            most=max_batches,
            progress=progress,
            unpack=unpack,
            checkpoint=saved,
        )
        run = Run(self._attachment, course)
        self.reset()
        return run.results(device)

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
