"""Watch phonemes form: one probe in three trainers, one history, a report of the curves.

The same small network learns the same frames of (synthetic) speech in the same order in a plain
loop, under Lightning and under Hugging Face's Trainer. What the probe finds on held-out frames is
the same to the last bit. Needs `pip install 'torchprobe[speech,lightning,transformers]'`; a
trainer that is not installed is left out, and without the speech extra frames are drawn at random
around a spectrum for each class.

    python examples/training_three_ways.py training-out
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler, TensorDataset
from torchprobe_speech import (
    CorpusSettings,
    FrameDataset,
    PhonemeNet,
    espeak_corpus,
    import_torchaudio,
)

import torchprobe as tp
from torchprobe.errors import MissingExtraError

BATCH, RATE, EVERY = 256, 2e-3, 10


@dataclass(frozen=True)
class Frames:
    """What is trained and what is probed: features [frame, feature], labels [frame]."""

    features: Tensor
    labels: Tensor
    probed: dict[str, list[tuple[Tensor, Tensor]]]
    """Held-out frames, on some of which probes are fitted, on the others scored."""
    names: tuple[str, ...]
    origin: str

    @property
    def train(self) -> TensorDataset:
        return TensorDataset(self.features, self.labels)


def main(out: str | Path = "training-out", sentences: int = 60, epochs: int = 3) -> dict:
    frames = speech(sentences)
    print(f"{len(frames.labels)} frames of {frames.origin}")
    ways = {"plain loop": plain, "Lightning": lightning, "Trainer": hugging_face}
    histories = {}
    for name, train in ways.items():
        try:
            histories[name] = train(frames, epochs)
        except MissingExtraError as error:
            print(f"{name} left out: {error}")
    first = histories["plain loop"]
    for name, history in histories.items():
        print(f"{name:10}  {len(history)} steps, the same as the plain loop's: {history == first}")
    first.save(Path(out) / "history")
    page = first.report(
        Path(out) / "report.html",
        title="Phonemes form",
        intro=f"A network of three hidden layers learns frames of {frames.origin}; it was probed "
        f"on held-out frames every {EVERY} steps.",
    )
    print(f"curves: {page}")
    return histories


def probe_of(model: nn.Module, frames: Frames) -> tp.Probe:
    """The probe, the same for all: one line that a trainer never sees."""
    return tp.Probe(
        model,
        layers="*.relu",
        analyzers=["lda", "class_selectivity", "activation_sample"],
        class_names=frames.names,
    )


def network(frames: Frames) -> PhonemeNet:
    return PhonemeNet(frames.features.shape[1], len(frames.names), hidden=(64, 64, 64), seed=0)


# -- three trainers


def plain(frames: Frames, epochs: int) -> tp.History:
    model = network(frames)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    with tp.callbacks.Loop(probe_of(model, frames), frames.probed, every=EVERY) as loop:
        for _ in range(epochs):
            for x, y in DataLoader(frames.train, BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                loop.step()
            loop.epoch()
    return loop.history


def lightning(frames: Frames, epochs: int) -> tp.History:
    from torchprobe.callbacks.lightning import ProbeCallback, package

    pl = package()

    class Recognizer(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(frames)

        def training_step(self, batch: Any) -> Tensor:
            x, y = batch
            return nn.functional.cross_entropy(self.net(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), RATE)

    model = Recognizer()
    callback = ProbeCallback(probe_of(model.net, frames), frames.probed, every=EVERY)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(frames.train, BATCH))
    return callback.history


def hugging_face(frames: Frames, epochs: int) -> tp.History:
    with contextlib.suppress(MissingExtraError):
        import_torchaudio()  # beside a CPU build of torch, transformers could not import it
    import transformers

    from torchprobe.callbacks.transformers import ProbeCallback

    class Rows(Dataset):
        def __len__(self) -> int:
            return len(frames.labels)

        def __getitem__(self, row: int) -> dict[str, Tensor]:
            return {"features": frames.features[row], "labels": frames.labels[row]}

    class Recognizer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(frames)

        def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(features)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    model = Recognizer()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    callback = ProbeCallback(probe_of(model.net, frames), frames.probed, every=EVERY, log=False)
    arguments = transformers.TrainingArguments(
        output_dir=tempfile.gettempdir(),  # the trainer makes the folder; nothing is written to it
        per_device_train_batch_size=BATCH,
        num_train_epochs=epochs,
        max_grad_norm=0.0,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = InOrder(
        model,
        arguments,
        train_dataset=Rows(),
        callbacks=[callback],
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)),
    )
    with callback:
        trainer.train()
    return callback.history


# -- data


def speech(sentences: int) -> Frames:
    """Frames of synthetic speech with their phonemes; of made-up spectra where that is missing."""
    settings = CorpusSettings(sentences, 0, max(sentences // 4, 8), voices=8, heldout_voices=2)
    try:
        corpus = espeak_corpus(settings)
        train, test = (FrameDataset.from_utterances(s) for s in (corpus.train, corpus.test))
    except MissingExtraError as error:
        print(f"no speech, spectra are made up instead: {error}")
        return made_up(40 * sentences)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    shown = train[order]
    held_out = test[: 16 * BATCH]
    keep = shown.labels >= 0
    return Frames(
        shown.features[keep].contiguous(),
        shown.labels[keep],
        splits(held_out.features, held_out.labels),
        tuple(train.inventory.symbols),
        "synthetic speech (espeak-ng)",
    )


def made_up(n: int, classes: int = 10, width: int = 253) -> Frames:
    generator = torch.Generator().manual_seed(0)
    spectra = torch.randn(classes, width, generator=generator)
    labels = torch.randint(0, classes, (2 * n,), generator=generator)
    features = spectra[labels] + 2 * torch.randn(2 * n, width, generator=generator)
    names = tuple(f"class {k}" for k in range(classes))
    probed = splits(features[n:], labels[n:])
    return Frames(features[:n], labels[:n], probed, names, "made-up spectra")


def splits(features: Tensor, labels: Tensor, n: int = 8 * BATCH) -> dict:
    """Every other frame to fit probes on, the others to score them."""
    parts = {"fit": slice(0, 2 * n, 2), "score": slice(1, 2 * n, 2)}
    return {
        name: list(zip(features[part].split(BATCH), labels[part].split(BATCH), strict=True))
        for name, part in parts.items()
    }


if __name__ == "__main__":
    main(*sys.argv[1:2])
