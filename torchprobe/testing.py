"""The analyzer contract as a test, for first and third parties alike."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from torchprobe.axes import Axes
from torchprobe.batch import LayerBatch
from torchprobe.errors import EmptyStateError
from torchprobe.labels import Labels
from torchprobe.layer import Layer
from torchprobe.network import Network, NetworkBatch
from torchprobe.probe import Probe
from torchprobe.result import Result
from torchprobe.sandbox import CPU, Sandbox

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe.analyzer import Analyzer

__all__ = ["Check", "Example", "check_analyzer", "checks", "example"]

Check = Callable[["Analyzer", "Example"], None]


@dataclass(frozen=True)
class Example:
    """Made-up data of one layer: well separated classes, so that results are stable."""

    layer: Layer
    values: Tensor
    """[sample, channel, *positions], float32."""
    labels: Tensor
    """[sample], int64, one of them ignored (-1)."""
    ids: Tensor
    """[sample], int64."""
    gradients: Tensor
    """As `values`; what an objective's gradients could be."""

    @property
    def subject(self) -> Layer | Network:
        """What an analyzer is forked for."""
        return self.layer

    def batch(
        self, index: Tensor, split: str = "fit", number: int = 0
    ) -> LayerBatch | NetworkBatch:
        """Some samples as a batch."""
        labels = Labels(self.labels[index], ids=self.ids[index])
        values, gradients = self.values[index], self.gradients[index]
        return LayerBatch(
            self.layer, values, labels, split=split, number=number, gradients=gradients
        )

    def objective(self, output: Tensor, labels: Labels) -> Tensor:
        """An objective whose gradients at the samples are `gradients`."""
        assert labels.ids is not None
        at = {number: place for place, number in enumerate(self.ids.tolist())}
        index = [at[number] for number in labels.ids.tolist()]
        return output * self.gradients[index]

    def part(self, index: Tensor) -> Example:
        """Some samples only."""
        names = ("values", "labels", "ids", "gradients")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def take(self, n: int) -> Example:
        """The first samples only."""
        return self.part(torch.arange(n))

    def __len__(self) -> int:
        return len(self.values)


def example(
    n: int = 96, channels: int = 6, positions: tuple[int, ...] = (), seed: int = 0
) -> Example:
    """Data with four classes, of which 3 rows in 4 count."""
    generator = torch.Generator().manual_seed(seed)
    names = ("time",) if len(positions) == 1 else ("height", "width")[: len(positions)]
    labels = torch.arange(n) % 4
    centres = 3 * torch.randn(4, channels, *positions, generator=generator)
    noise = torch.randn(n, channels, *positions, generator=generator)
    shape = (n, channels, *positions)
    return Example(
        Layer("layer", Axes(("sample", "channel", *names)), shape, "Linear"),
        centres[labels] + noise,
        labels.masked_fill(torch.arange(n) % 13 == 5, -1),  # noqa: PLR2004 - a few are ignored
        1000 + torch.randperm(n, generator=generator),
        centres.roll(1, 0)[labels] + torch.randn(shape, generator=generator),
    )


@dataclass(frozen=True)
class NetworkExample(Example):
    """Made-up inputs of a small network in float64, four classes to its four outputs."""

    network: Network

    @property
    def subject(self) -> Network:
        """What an analyzer of scope "network" is forked for."""
        return self.network

    def batch(self, index: Tensor, split: str = "fit", number: int = 0) -> NetworkBatch:
        """Some samples as one call of the network."""
        values, labels = self.values[index], Labels(self.labels[index], ids=self.ids[index])
        output = self.network.model(values)
        return NetworkBatch(self.network, (values,), {}, output, labels, split, number)


def network_example(n: int = 96, positions: tuple[int, ...] = (), seed: int = 0) -> NetworkExample:
    """Inputs for a network of one hidden layer, a convolution where there are positions."""
    data = example(n, positions=positions, seed=seed)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = _small_net(len(positions)).double().eval()
    values = data.values.double()
    layers, current = [], values
    for name, module in model.named_children():
        current = module(current)
        axes = Axes(data.layer.axes.names[: current.ndim])
        kind = type(module).__name__
        layers.append(Layer(name, axes, tuple(current.shape), kind, torch.float64))
    network = Network("model", model, tuple(layers), ((values.to("meta"),), {}))
    return NetworkExample(data.layer, values, data.labels, data.ids, data.gradients, network)


def _small_net(positions: int) -> nn.Sequential:
    if not positions:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    convolution = nn.Conv1d if positions == 1 else nn.Conv2d
    average = nn.AdaptiveAvgPool1d if positions == 1 else nn.AdaptiveAvgPool2d
    return nn.Sequential(
        convolution(6, 5, 3, padding=1), nn.ReLU(), average(1), nn.Flatten(), nn.Linear(5, 4)
    )


def check_analyzer(
    analyzer: type[Analyzer] | Analyzer,
    *,
    positions: Sequence[tuple[int, ...]] = ((), (5,)),
    skip: Sequence[str] = (),
) -> None:
    """Assert the contract of an analyzer; raises AssertionError naming the promise it breaks.

    Every check of `checks` runs on made-up data without positions and with some. The promises:
    results do not depend on how the data is cut into batches nor on its order, merging equals one
    pass, a saved state restores it, nothing seen raises `EmptyStateError`, state does not grow with
    the data, no random numbers are drawn, inputs are not written to, repeating gives the same.

    Args:
        analyzer: a class that can be made without arguments, or a configured instance.
        positions: the position sizes to try.
        skip: names of checks that do not apply, e.g. ``["order_does_not_matter"]``; say why in
            the test that skips them.

    Example:
        >>> from torchprobe import Analyzer
        >>> from torchprobe.accumulators import Mean
        >>> class DeadUnits(Analyzer):
        ...     name = "dead_units"
        ...     def start(self, layer):
        ...         self.active = Mean(layer.channels)
        ...     def update(self, batch):
        ...         self.active.update(batch.rows() > 0)
        ...     def compute(self):
        ...         return self.result(dead=("channel", 1 - self.active.value))
        >>> check_analyzer(DeadUnits)
    """
    made = analyzer() if isinstance(analyzer, type) else analyzer
    for sizes in positions:
        data = _data(made, sizes)
        for check in checks():
            if check.__name__ in skip:
                continue
            try:
                with Sandbox(CPU):
                    check(made, data)
            except Exception as error:
                kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
                raise AssertionError(
                    f"{made.name}: {check.__name__} with positions {sizes}: {kind}{error}"
                ) from error


def _data(analyzer: Analyzer, positions: tuple[int, ...]) -> Example:
    if analyzer.scope == "network":
        return network_example(positions=positions)
    return example(positions=positions)


def checks() -> tuple[Check, ...]:
    """The promises, one function each."""
    return (
        it_has_a_name_and_settings_as_stored,
        nothing_seen_raises_empty_state_error,
        batch_size_does_not_matter,
        order_does_not_matter,
        merging_two_halves_equals_one_pass,
        merging_nothing_changes_nothing,
        a_saved_state_restores_the_result,
        a_saved_probe_goes_on_where_it_was,
        a_class_seen_late_counts_the_same,
        repeating_gives_the_same_bits,
        state_does_not_grow_with_the_data,
        no_random_numbers_are_drawn,
        inputs_are_not_written_to,
        forks_are_independent,
        it_can_move_between_devices,
    )


# -- the promises


def it_has_a_name_and_settings_as_stored(analyzer: Analyzer, _: Example) -> None:
    assert analyzer.name, "set name"
    assert analyzer.settings() == type(analyzer)(**_own(analyzer)).settings(), (
        "__init__ must store its arguments under their own names"
    )


def nothing_seen_raises_empty_state_error(analyzer: Analyzer, data: Example) -> None:
    try:
        list(_each(analyzer.fork(data.subject, "label").compute()))
    except EmptyStateError:
        return
    raise AssertionError("compute() before any data must raise EmptyStateError")


def batch_size_does_not_matter(analyzer: Analyzer, data: Example) -> None:
    whole = _run(analyzer, data, [len(data)])
    for size in (1, 7, 32):
        _equal(whole, _run(analyzer, data, [size]), f"batches of {size}")


def order_does_not_matter(analyzer: Analyzer, data: Example) -> None:
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))
    shuffled = data.part(order)
    _equal(_run(analyzer, data, [16]), _run(analyzer, shuffled, [16]), "shuffled data")


def merging_two_halves_equals_one_pass(analyzer: Analyzer, data: Example) -> None:
    _equal(_run(analyzer, data, [16]), _run(analyzer, data, [16], processes=3), "3 processes")


def merging_nothing_changes_nothing(analyzer: Analyzer, data: Example) -> None:
    fork = _fed(analyzer, data)
    before = fork.state_dict()
    fork.merge(analyzer.fork(data.subject, "label"))
    after = fork.state_dict()
    assert before.keys() == after.keys(), "merging an empty copy changed what the state holds"
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), f"merging an empty copy changed {name}"


def a_saved_state_restores_the_result(analyzer: Analyzer, data: Example) -> None:
    _equal(_run(analyzer, data, [16]), _run(analyzer, data, [16], resume=True), "a resumed run")


def a_saved_probe_goes_on_where_it_was(analyzer: Analyzer, data: Example) -> None:
    whole, saved = (_run_probe(analyzer, data, saved=saved) for saved in (False, True))
    _equal(whole, saved, "a probe that was saved in the middle of each pass")


def a_class_seen_late_counts_the_same(analyzer: Analyzer, data: Example) -> None:
    order = data.labels.argsort(stable=True)
    by_class = data.part(order)
    _equal(_run(analyzer, data, [16]), _run(analyzer, by_class, [16]), "data sorted by class")


def repeating_gives_the_same_bits(analyzer: Analyzer, data: Example) -> None:
    _equal(_run(analyzer, data, [16]), _run(analyzer, data, [16]), "a repetition", exact=True)


def state_does_not_grow_with_the_data(analyzer: Analyzer, data: Example) -> None:
    fork = _fed(analyzer, data)
    before = _bytes(fork)
    moved = replace(data, ids=data.ids + len(data) * 10)
    for _ in range(3):
        _feed(fork, moved, [16], "fit")
    budget = max(before, fork.state_bytes(data.subject))
    assert _bytes(fork) <= budget, (
        f"{before} bytes grew to {_bytes(fork)}; keep statistics, not data"
    )


def no_random_numbers_are_drawn(analyzer: Analyzer, data: Example) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    _fed(analyzer, data)
    assert torch.equal(before[0], torch.get_rng_state()), "update drew from torch's generator"
    assert np.array_equal(before[1], np.random.get_state()[1]), "update drew from numpy's generator"  # type: ignore[index]  # noqa: NPY002


def inputs_are_not_written_to(analyzer: Analyzer, data: Example) -> None:
    fork = analyzer.fork(data.subject.at(analyzer.positions), "label")
    batch = data.batch(torch.arange(len(data))).view("label", analyzer.positions)
    shared = _shared(batch)
    before = [tensor.clone() for tensor in shared.values()]
    fork.update(batch)
    for (name, tensor), copy in zip(shared.items(), before, strict=True):
        assert torch.equal(tensor, copy), f"update wrote into {name}, which others share"


def forks_are_independent(analyzer: Analyzer, data: Example) -> None:
    first = _fed(analyzer, data)
    before = first.state_dict()
    _fed(analyzer, data.take(8))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, before[name]), f"feeding another fork changed {name}"


def it_can_move_between_devices(analyzer: Analyzer, data: Example) -> None:
    fork = _fed(analyzer, data)
    for _, accumulator in fork.accumulators():
        accumulator.to("cpu")
    _feed(fork, data, [16], "fit")


# -- running one by hand, as a probe would


def _shared(batch: LayerBatch | NetworkBatch) -> dict[str, Tensor]:
    """The tensors of a batch that an analyzer must not write to."""
    if isinstance(batch, NetworkBatch):
        return {"batch.args": batch.args[0], "batch.output": batch.output}
    shared = {"batch.values": batch.values, "batch.rows()": batch.rows()}
    return {**shared, "batch.gradients": batch.gradients} if batch.has_gradients else shared


def _own(analyzer: Analyzer) -> dict[str, object]:
    return {name: value for name, value in analyzer.settings().items() if name != "positions"}


def _phases(analyzer: Analyzer) -> Iterator[tuple[str, int]]:
    for split in analyzer.splits:
        for number in range(analyzer.passes if split == "fit" else 1):
            yield split, number


def _feed(fork: Analyzer, data: Example, sizes: Sequence[int], split: str, number: int = 0) -> None:
    for index in torch.arange(len(data)).split(sizes[0]):
        fork.update(data.batch(index, split, number).view("label", fork.positions))


def _fed(analyzer: Analyzer, data: Example) -> Analyzer:
    fork = analyzer.fork(data.subject.at(analyzer.positions), "label")
    _feed(fork, data, [16], "fit")
    return fork


def _run(
    analyzer: Analyzer,
    data: Example,
    sizes: Sequence[int],
    *,
    processes: int = 1,
    resume: bool = False,
) -> list[Result]:
    """All phases, in one process or several that merge after each, optionally resumed midway."""
    first = analyzer.fork(data.subject.at(analyzer.positions), "label")
    for phase in _phases(analyzer):
        if processes == 1:
            _feed_part(first, data, sizes, phase, resume=resume)
        else:
            _feed_processes(first, data, sizes, phase, processes)
        first.after(*phase)
    return _each(first.compute())


def _run_probe(analyzer: Analyzer, data: Example, *, saved: bool) -> list[Result]:
    """All phases through a probe, maybe saved in the middle of each and loaded into another."""
    probe = _probe(analyzer, data)
    half = len(data) // 2
    for number, phase in enumerate(_phases(analyzer)):
        if phase[0] == "fit" and number:
            probe.next_pass()
        for index in torch.arange(len(data)).split(half):
            _let_see(probe, data, index, phase[0])
            if saved and not index[0]:
                state = _through_a_file(probe.state_dict())
                probe = _probe(analyzer, data)
                probe.load_state_dict(state)
    return [*probe.results()[analyzer.name].values()]


def _probe(analyzer: Analyzer, data: Example) -> Probe:
    if isinstance(data, NetworkExample):
        return Probe(data.network.model, analyzers=[analyzer], on_error="raise")
    axes = str(data.layer.axes)
    model = nn.Sequential(nn.Identity())
    return Probe(
        model, "0", [analyzer], axes={"0": axes}, objective=data.objective, on_error="raise"
    )


def _let_see(probe: Probe, data: Example, index: Tensor, split: str) -> None:
    wanted = "gradients" in next(iter(probe.analyzers.values())).signals
    with probe, probe.batch(data.labels[index], ids=data.ids[index], split=split):
        values = data.values[index].requires_grad_(wanted)
        with torch.set_grad_enabled(wanted):
            probe.model(values)


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def _each(found: Result | Iterable[Result]) -> list[Result]:
    return [found] if isinstance(found, Result) else list(found)


def _feed_processes(
    first: Analyzer, data: Example, sizes: Sequence[int], phase: tuple[str, int], processes: int
) -> None:
    """Let several copies see a part each and merge them into the first."""
    for part in torch.arange(len(data)).tensor_split(processes):
        copy = _empty_like(first)
        _feed(copy, data.part(part), sizes, *phase)
        first.merge(copy)


def _empty_like(fork: Analyzer) -> Analyzer:
    """A copy that knows what earlier phases found but has seen nothing of this one."""
    return fork.unfed()


def _feed_part(
    fork: Analyzer, data: Example, sizes: Sequence[int], phase: tuple[str, int], *, resume: bool
) -> None:
    if not resume:
        _feed(fork, data, sizes, *phase)
        return
    half = len(data) // 2
    _feed(fork, data.take(half), sizes, *phase)
    state = fork.state_dict()
    for _, accumulator in fork.accumulators():
        accumulator.reset()
    fork.load_state_dict(state)
    _feed(fork, data.part(torch.arange(half, len(data))), sizes, *phase)


def _bytes(fork: Analyzer) -> int:
    return sum(tensor.nbytes for tensor in fork.state_dict().values())


def _equal(
    first: Sequence[Result], second: Sequence[Result], what: str, *, exact: bool = False
) -> None:
    assert len(first) == len(second), f"{what} gave results for other layers"
    for one, two in zip(first, second, strict=True):
        _equal_result(one, two, what, exact=exact)


def _equal_result(first: Result, second: Result, what: str, *, exact: bool) -> None:
    assert first.layer == second.layer, f"{what} gave results for other layers"
    assert first.fields.keys() == second.fields.keys(), f"{what} gave other fields"
    assert first.coords == second.coords, f"{what} gave other names along an axis"
    for name, field in first.fields.items():
        one, two = field.values, second.fields[name].values
        assert one.shape == two.shape, f"{what} gave {name} of shape {two.shape}, not {one.shape}"
        if exact or one.dtype.kind not in "fc":
            assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f"), (
                f"{what} changed {name}"
            )
        else:
            scale = np.abs(one[np.isfinite(one)]).max(initial=1.0)
            close = np.allclose(one, two, rtol=1e-9, atol=1e-9 * scale, equal_nan=True)
            assert close, f"{what} changed {name}: {one.ravel()[:4]} became {two.ravel()[:4]}"
