"""A probe while Hugging Face's Trainer trains."""

import contextlib
import copy
import gc
import pickle
import warnings
from types import SimpleNamespace

import pytest
import torch
from callbacks.training import (
    PROBED,
    STEPS,
    Average,
    ByLabel,
    Gradient,
    Model,
    Rows,
    X,
    hooks,
    state,
)
from torch.utils.data import Dataset, SequentialSampler
from torchprobe_speech import import_torchaudio

import torchprobe as tp
from torchprobe.callbacks import transformers as module
from torchprobe.errors import AttachError, CompileError, MissingExtraError

with contextlib.suppress(MissingExtraError):
    import_torchaudio()  # transformers imports it, and fails beside a CPU build of torch
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
]


class Ordered(transformers.Trainer):
    def _get_train_sampler(self, *args):
        return SequentialSampler(self.train_dataset)


def trainer_of(model, tmp_path, callbacks, *, data=None, **options):
    settings = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 8,
        "num_train_epochs": 1,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "use_cpu": True,
        "max_grad_norm": 0.0,
        "dataloader_pin_memory": False,
    }
    args = transformers.TrainingArguments(**{**settings, **options})
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    return Ordered(
        model,
        args,
        train_dataset=data or Rows(),
        eval_dataset=Rows(),
        callbacks=callbacks,
        optimizers=(optimizer, schedule),
    )


def probe_of(model, analyzer=Average, **options):
    return tp.Probe(model, ["net.0", "net.2"], [analyzer()], **options)


@pytest.fixture(autouse=True)
def quiet(capsys):
    yield
    gc.collect()


LOADER = [{"x": x, "labels": y} for x, y in PROBED]


def test_the_hook_that_reads_labels_is_inert_in_copies():
    recorder = tp.callbacks.Recorder(probe_of(Model()), every=1)
    copied = copy.deepcopy(module._ReadsLabels(recorder))
    assert copied(None, (), {"labels": 3}) is None
    assert pickle.loads(pickle.dumps(module._ReadsLabels(recorder)))(None) is None


@pytest.mark.parametrize("loader", [LOADER, None])
@pytest.mark.parametrize("analyzer", [ByLabel, Gradient])
def test_training_is_bit_for_bit_what_it_would_be(tmp_path, loader, analyzer):
    plain, model = Model(), Model()
    trainer_of(plain, tmp_path, []).train()
    expected = state(plain)
    objective = tp.TrainingLoss("mean") if loader is None else "label"
    callback = module.ProbeCallback(probe_of(model, analyzer, objective=objective), loader, every=2)
    trainer_of(model, tmp_path, [callback]).train()
    assert all(torch.equal(a, b) for a, b in zip(state(model), expected, strict=True))
    assert not hooks(model)
    assert callback.history.steps == ((0,) if loader else ()) + (2, 4, 6)
    assert callback.history.complete


def test_labels_are_read_from_the_forward_pass_and_evaluation_is_not_listened_to(tmp_path):
    model = Model()
    callback = module.ProbeCallback(probe_of(model, ByLabel))
    options = {"eval_strategy": "steps", "eval_steps": 2, "num_train_epochs": 2}
    trainer_of(model, tmp_path, [callback], **options).train()
    assert callback.history.steps == (STEPS, 2 * STEPS)
    for results in callback.history.values():
        assert results["by_label"]["net.0"].provenance["samples"] == len(X)


def test_the_attention_mask_says_which_tokens_count(tmp_path):
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
    )
    torch.manual_seed(0)
    model = transformers.BertForTokenClassification(config)

    class Tokens(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            mask = torch.arange(6) < 2 + index % 4
            return {
                "input_ids": torch.full((6,), index),
                "attention_mask": mask.long(),
                "labels": torch.where(mask, torch.arange(6) % 2, -100),
            }

    probe = tp.Probe(model, "bert.encoder.layer.0", [ByLabel()])
    callback = module.ProbeCallback(probe, every=1)
    trainer_of(model, tmp_path, [callback], data=Tokens(), max_steps=1).train()
    provenance = callback.history[1]["by_label"]["bert.encoder.layer.0"].provenance
    assert (provenance["samples"], provenance["rows"]) == (8, sum(2 + i % 4 for i in range(8)))


def test_gradients_are_freed_of_accumulation_where_the_trainer_says_how(tmp_path):
    for steps, scale in [(1, "of each sample's own loss"), (2, "of each sample's own loss")]:
        model = Model()
        probe = probe_of(model, Gradient, objective=tp.TrainingLoss("mean"))
        callback = module.ProbeCallback(probe, every=1)
        options = {"gradient_accumulation_steps": steps}
        trainer_of(model, tmp_path, [callback], **options).train()
        provenance = callback.history[1]["gradient"]["net.0"].provenance
        assert provenance["gradient_scale"] == scale
        assert provenance["calls"] == steps
        assert probe.objective.divided_by == steps


def test_a_model_that_divides_by_the_number_of_items_has_gradients_of_unknown_scale(tmp_path):
    class Counting(Model):
        def forward(self, x, labels=None, num_items_in_batch=None, **kwargs):
            return super().forward(x, labels)

    model = Counting()
    probe = probe_of(model, Gradient, objective=tp.TrainingLoss("mean"))
    callback = module.ProbeCallback(probe, every=1)
    trainer_of(model, tmp_path, [callback], gradient_accumulation_steps=2).train()
    provenance = callback.history[1]["gradient"]["net.0"].provenance
    assert provenance["gradient_scale"].startswith("unknown")


@pytest.mark.parametrize(
    ("processes", "averages", "scale"), [(1, True, "of"), (2, True, "unknown"), (2, False, "of")]
)
def test_a_number_of_items_of_all_processes_is_not_known(processes, averages, scale):
    """The loss is divided by it, and multiplied by the number of processes."""
    probe = probe_of(Model(), Gradient, objective=tp.TrainingLoss("mean"))
    args = SimpleNamespace(
        gradient_accumulation_steps=1,
        world_size=processes,
        average_tokens_across_devices=averages,
        fp16=False,
    )
    trainer = SimpleNamespace(model_accepts_loss_kwargs=True, compute_loss_func=None)
    module.ProbeCallback(probe)._tell_scale(args, trainer)
    assert probe.objective.scale.split()[0].rstrip(":") == scale


def test_numbers_reach_the_trainers_log_and_hide_none_of_its_own(tmp_path):
    model = Model()
    callback = module.ProbeCallback(probe_of(model), LOADER, every=2)
    options = {"logging_strategy": "steps", "logging_steps": 2, "report_to": ["tensorboard"]}
    trainer = trainer_of(model, tmp_path, [callback], **options)
    trainer.train()
    ours = [line for line in trainer.state.log_history if "average/net.0/level" in line]
    assert [line["step"] for line in ours] == [0, 2, 4, 6]
    assert [line["step"] for line in trainer.state.log_history if "loss" in line] == [2, 4, 6]
    assert list(tmp_path.rglob("events*"))


def test_a_checkpoint_holds_the_history_and_training_goes_on_with_it(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 3}
    model = Model()
    callback = module.ProbeCallback(probe_of(model), LOADER, every=2)
    trainer_of(model, tmp_path, [callback], **options).train()
    model = Model()
    resumed = module.ProbeCallback(probe_of(model), LOADER, every=2)
    trainer = trainer_of(model, tmp_path, [resumed], **options)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert resumed.history == callback.history
    assert tp.History.load(tmp_path / "checkpoint-3" / "torchprobe-probe").steps == (0, 2)


# -- endings: the trainer tells nothing of errors


class BoomError(Exception):
    pass


class FailingModel(Model):
    """Raises in its third forward pass in train mode."""

    def __init__(self, kind=BoomError):
        super().__init__()
        self.calls, self.kind = 0, kind

    def forward(self, x, labels=None):
        out = super().forward(x, labels)
        self.calls += self.training
        if self.training and self.calls == 3:
            raise self.kind
        return out


class FailingRows(Rows):
    def __getitem__(self, index):
        if index == 20:
            raise BoomError
        return super().__getitem__(index)


class FailingCallback(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise BoomError


FAILING = {
    "forward": lambda: (FailingModel(), None, []),
    "Ctrl-C": lambda: (FailingModel(KeyboardInterrupt), None, []),
    "callback": lambda: (Model(), None, [FailingCallback()]),
    "data": lambda: (Model(), FailingRows(), []),
}


def failed(tmp_path, ending, *, inside):
    model, data, others = FAILING[ending]()
    callback = module.ProbeCallback(probe_of(model, ByLabel), every=6, window=6)
    trainer = trainer_of(model, tmp_path, [*others, callback], data=data)
    with pytest.raises((BoomError, KeyboardInterrupt)):
        if inside:
            with callback:
                trainer.train()
        else:
            trainer.train()
    return model, callback


@pytest.mark.parametrize("ending", FAILING)
def test_every_failing_path_is_cleaned_up_by_the_context_manager(tmp_path, ending):
    model, callback = failed(tmp_path, ending, inside=True)
    assert not hooks(model)
    assert len(callback.history) == 1
    assert not callback.history.last.complete
    samples = 8 if ending == "data" else 16  # batches are fetched one ahead
    assert callback.history.last["by_label"]["net.0"].provenance["samples"] == samples
    kind = "KeyboardInterrupt" if ending == "Ctrl-C" else "BoomError"
    assert f"training ended with {kind}" in str(callback.history.last.provenance["notes"])


@pytest.mark.parametrize("ending", FAILING)
def test_without_it_the_next_call_of_the_model_is_not_recorded_and_cleans_up(tmp_path, ending):
    model, callback = failed(tmp_path, ending, inside=False)
    seen = callback.recorder.probe.coverage.forwards
    model.eval()(X)
    assert not hooks(model)
    assert callback.recorder.probe.coverage.forwards == seen
    assert not callback.history.last.complete
    assert "ended without notice" in str(callback.history.last.provenance["notes"])


@pytest.mark.parametrize("ending", ["forward", "Ctrl-C"])
def test_a_training_that_follows_a_failed_one_begins_anew(tmp_path, ending):
    model, callback = failed(tmp_path, ending, inside=False)
    model.calls = 10
    trainer_of(model, tmp_path, [callback]).train()
    assert callback.history.steps == (6,)
    assert callback.history[6].complete
    assert not hooks(model)


def test_a_callback_that_is_forgotten_takes_its_hooks_along(tmp_path):
    model, callback = failed(tmp_path, "forward", inside=False)
    del callback
    gc.collect()
    assert not hooks(model)


def test_a_copy_of_the_model_is_refused(tmp_path):
    callback = module.ProbeCallback(probe_of(Model()), LOADER)
    with pytest.raises(AttachError, match="not of a copy"):
        trainer_of(Model(), tmp_path, [callback]).train()


def test_a_compiled_model_is_refused_where_it_would_be_listened_to(tmp_path):
    model = Model()
    callback = module.ProbeCallback(probe_of(model), every=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trainer_of(model, tmp_path, [callback], torch_compile=True)
        with pytest.raises(CompileError, match="torch_compile=False"):
            trainer.train()
    assert not hooks(model)
