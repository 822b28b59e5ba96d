"""The loss in Lightning, under both of its names, and in Hugging Face's Trainer."""

import contextlib
import importlib
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler, TensorDataset
from torchprobe_speech import import_torchaudio
from torchprobe_topography import (
    Ramp,
    TopographicLoss,
    lightning_callback,
    transformers_callback,
)

from torchprobe.errors import AttachError

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
STEPS, ACCUMULATED = 10, 2
GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(STEPS * ACCUMULATED * 8, 6, generator=GENERATOR)
Y = torch.randint(0, 3, (len(X),), generator=GENERATOR)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def same(one, two):
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def imported(name):
    pytest.importorskip(name.split(".")[0], exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def pl(request):
    return imported(request.param)


def lit(pl, topographic=None, optimizer=torch.optim.Adam):
    """A LightningModule; with a loss, the term is added by hand."""

    class Lit(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def training_step(self, batch, _):
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            return loss if topographic is None else loss + topographic(self)

        def configure_optimizers(self):
            return optimizer(self.parameters(), 0.05)

    return Lit()


def fit(pl, module, callbacks=(), **options):
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
        accumulate_grad_batches=ACCUMULATED,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, DataLoader(TensorDataset(X, Y), 8))
    return trainer


@pytest.mark.parametrize("options", [{}, {"gradient_clip_val": 0.1}, {"precision": "bf16-mixed"}])
def test_lightning_trains_as_with_the_term_in_the_loss(pl, options):
    layers, strength = "net.0", 0.5
    expected = lit(pl, TopographicLoss(layers, strength))
    fit(pl, expected, **options)
    found, callback = lit(pl), lightning_callback(TopographicLoss(layers, strength))
    trainer = fit(pl, found, [callback], **options)
    assert trainer.global_step == callback.topographic.steps == STEPS
    assert trainer.callback_metrics["topographic_loss"] == callback.value
    same(found, expected)


def test_lightning_with_a_scaler_trains_as_with_the_term_in_the_loss(pl):
    plugin = importlib.import_module(f"{pl.__name__}.plugins.precision").MixedPrecision

    def precise():
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        return plugin("16-mixed", "cpu", scaler)

    for optimizer in (torch.optim.Adam, lambda p, lr: torch.optim.Adam(p, lr, fused=True)):
        loss = TopographicLoss("net.0", 0.5)
        expected, found = lit(pl, loss, optimizer), lit(pl, None, optimizer)
        fit(pl, expected, plugins=[precise()])
        fit(pl, found, [lightning_callback(loss)], plugins=[precise()])
        for a, b in zip(found.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_lightning_refuses_an_optimizer_that_trains_none_of_the_weights(pl):
    module = lit(pl, None, lambda _, lr: torch.optim.SGD(module.net[2].parameters(), lr))
    with pytest.raises(AttachError, match=r"none of the weights of net\.0"):
        fit(pl, module, [lightning_callback(TopographicLoss("net.0"))])


def test_the_step_of_a_schedule_is_in_lightning_s_checkpoints(pl):
    callback = lightning_callback(TopographicLoss("net.0", Ramp(1.0, 100)))
    fit(pl, lit(pl), [callback])
    other = lightning_callback(TopographicLoss("net.0", Ramp(1.0, 100)))
    other.load_state_dict(callback.state_dict())
    assert other.topographic.strength_now == pytest.approx(STEPS / 100)


class Rows(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return {"x": X[index], "labels": Y[index]}


class Model(nn.Module):
    """What the Trainer expects: keyword arguments in, a loss out."""

    def __init__(self, topographic=None):
        super().__init__()
        self.net, self.topographic = net(), topographic

    def forward(self, x, labels=None):
        loss = nn.functional.cross_entropy(self.net(x), labels)
        return {"loss": loss if self.topographic is None else loss + self.topographic(self)}


def train(tmp_path, model, callbacks=(), **options):
    with contextlib.suppress(ImportError):  # transformers fails beside a CPU build of torch
        import_torchaudio()
    transformers = imported("transformers")

    class Ordered(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

    settings = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": ACCUMULATED,
        "num_train_epochs": 1,
        "learning_rate": 0.05,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "use_cpu": True,
        **options,
    }
    trainer = Ordered(
        model,
        transformers.TrainingArguments(**settings),
        train_dataset=Rows(),
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("options", [{}, {"max_grad_norm": 0.1}, {"bf16": True}])
def test_hugging_face_s_trainer_trains_as_with_the_term_in_the_loss(tmp_path, options):
    loss = TopographicLoss("net.0", 0.5)
    expected, found = Model(loss), Model()
    train(tmp_path, expected, **options)
    callback = transformers_callback(TopographicLoss("net.0", 0.5))
    trainer = train(tmp_path, found, [callback], **options)
    assert trainer.state.global_step == callback.topographic.steps == STEPS
    assert callback.value > 0
    same(found.net, expected.net)


def test_hugging_face_s_trainer_is_refused_frozen_layers(tmp_path):
    model = Model()
    model.net[0].requires_grad_(requires_grad=False)
    with pytest.raises(AttachError, match="thaw"):
        train(tmp_path, model, [transformers_callback(TopographicLoss("net.0"))])
