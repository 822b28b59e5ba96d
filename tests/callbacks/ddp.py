"""A small training in one of several processes, with DistributedDataParallel, by either trainer.

The process group is the trainer's own: it is not there yet when the probes are made.
"""

import contextlib
import os
import tempfile
import warnings
from dataclasses import dataclass
from datetime import timedelta

import torch
from callbacks.training import PROBED, Average, ByLabel, Model, Rows, X, Y, hooks, net, state
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset
from torchprobe_topography import TopographicLoss, lightning_callback, transformers_callback

import torchprobe as tp

LAYERS = ["net.0", "net.2"]
EPOCHS = 2
OPTIMIZER = {"lr": 1e-2}


@dataclass
class Training:
    """What came of a training in one process."""

    state: list
    """Parameters, buffers and torch's generator."""
    histories: dict
    hooks: dict
    """What is left on the model."""
    seen: dict
    """What some layers gave in each step, by another hook than the probes'."""
    error: str


class Stopped(Exception):  # noqa: N818 - what a user's own training step might raise
    """The error of one process."""


def train(rank, trainer, port, *, probed=False, fails=None, topographic=None):
    """A training, with probes on a loader, on every step and on every epoch, or with none.

    Args:
        rank: of this process.
        trainer: "lightning" or "transformers".
        port: at which the processes meet.
        probed: whether there are probes.
        fails: "alone": the training step of process 1 raises, which ends it; "loading": what it is
            probed on does.
        topographic: how a topographic loss comes in: as a "term" of the loss, or by a "callback".
    """
    _part(rank, port)
    seen, error = {layer: [] for layer in LAYERS}, ""
    term = TopographicLoss("net.0", 0.5) if topographic == "term" else None
    run, model, callback_class = _TRAINERS[trainer](rank, term, alone=fails == "alone")
    listening = [
        model.get_submodule(layer).register_forward_hook(_Listens(seen[layer])) for layer in LAYERS
    ]
    callbacks = _callbacks(callback_class, model, rank, fails) if probed else {}
    following = (
        [_FOLLOWING[trainer](TopographicLoss("net.0", 0.5))] if topographic == "callback" else []
    )
    try:
        with warnings.catch_warnings(), contextlib.ExitStack() as stack:
            warnings.simplefilter("ignore")
            for each in callbacks.values():
                stack.enter_context(each)
            run([*callbacks.values(), *following])
    except Exception as trouble:  # noqa: BLE001 - told to the test
        error = f"{type(trouble).__name__}: {trouble}"
        if fails == "alone" and rank:
            os._exit(1)
    for each in listening:
        each.remove()
    histories = {name: each.history for name, each in callbacks.items()}
    return Training(state(model), histories, hooks(model), seen, error)


class _Listens:
    """A hook that keeps what a layer gives in training, to be compared with what probes say."""

    def __init__(self, rows):
        self.rows = rows

    def __call__(self, module, args, output):
        if module.training:
            self.rows.append(output.detach().clone())


def _callbacks(kind, model, rank, fails):
    def of(*analyzers):
        return tp.Probe(model, LAYERS, [*analyzers], distributed_timeout=60)

    loader = Failing(rank) if fails == "loading" else PROBED
    if kind.__module__.endswith("transformers"):
        loader = Named(loader)
    return {
        "loader": kind(of(Average(), "lda"), loader, name="loader", every=2, log=False),
        "steps": kind(of(Average(), ByLabel()), name="steps", every=1, log=False),
        "epochs": kind(of("activation_sample"), name="epochs", every="epoch", log=False),
    }


class Failing:
    """What process 1 cannot load the third time that it is read."""

    def __init__(self, rank):
        self.rank, self.reads = rank, 0

    def __len__(self):
        return len(PROBED)

    def __iter__(self):
        self.reads += 1
        if self.rank and self.reads > 4:  # an analyzer needs two passes
            raise Stopped("no more data")
        return iter(PROBED)


class Named:
    """The same batches as keyword arguments."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return ({"x": x, "labels": y} for x, y in self.batches)


def _part(rank, port):
    """What torchrun tells a process; a group that is there from before is left."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({name: str(value) for name, value in told.items()})


def _stop(rank, step, *, alone):
    if alone and rank and step == 3:
        raise Stopped("in the training step")


def _lightning(rank, term, *, alone):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning.pytorch as pl

    from torchprobe.callbacks.lightning import ProbeCallback

    class Lit(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            _stop(rank, self.global_step, alone=alone)
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            return loss if term is None else loss + term(self)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), **OPTIMIZER)

    model = Lit()

    def run(callbacks):
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=2,
            strategy=pl.strategies.DDPStrategy(
                process_group_backend="gloo", timeout=timedelta(seconds=60)
            ),
            max_epochs=EPOCHS,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataLoader(TensorDataset(X, Y), 8))

    return run, model, ProbeCallback


def _transformers(rank, term, *, alone):
    from torchprobe_speech import import_torchaudio

    with contextlib.suppress(tp.errors.MissingExtraError):
        import_torchaudio()  # transformers imports it, and fails beside a CPU build of torch
    import transformers
    from accelerate.state import AcceleratorState

    from torchprobe.callbacks.transformers import ProbeCallback

    AcceleratorState._reset_state(True)  # of the training before

    class Ordered(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

        def training_step(self, *args, **named):
            _stop(rank, self.state.global_step, alone=alone)
            return super().training_step(*args, **named)

    model = Model(term)

    def run(callbacks):
        with tempfile.TemporaryDirectory() as folder:
            args = transformers.TrainingArguments(
                folder,
                per_device_train_batch_size=8,
                num_train_epochs=EPOCHS,
                report_to=[],
                disable_tqdm=True,
                save_strategy="no",
                logging_strategy="no",
                use_cpu=True,
                ddp_backend="gloo",
                ddp_timeout=60,
                max_grad_norm=0.0,
                dataloader_pin_memory=False,
            )
            optimizer = torch.optim.Adam(model.parameters(), **OPTIMIZER)
            schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
            Ordered(
                model,
                args,
                train_dataset=Rows(),
                callbacks=callbacks,
                optimizers=(optimizer, schedule),
            ).train()

    return run, model, ProbeCallback


_TRAINERS = {"lightning": _lightning, "transformers": _transformers}
_FOLLOWING = {
    "lightning": lambda loss: lightning_callback(loss, log=False),
    "transformers": transformers_callback,
}
