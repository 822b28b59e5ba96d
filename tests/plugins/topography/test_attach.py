import copy
import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn
from torchprobe_topography import Ramp, TopographicLoss, attach

from torchprobe.errors import AttachError, SettingError

STEPS = 10


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def topographic(strength=0.1, **settings):
    return TopographicLoss(["0", "2"], strength, **settings)


def data(seed=1, size=12):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(STEPS, 2, size, 6, generator=generator)
    return list(zip(x, torch.randint(0, 3, (STEPS, 2, size), generator=generator), strict=True))


def losses(model, batch):
    """The losses of the two parts of a batch, each half of its mean."""
    for x, y in zip(*batch, strict=True):
        yield nn.functional.cross_entropy(model(x), y) / 2


def by_hand(loss, make, after=lambda: None):
    """Ten steps with the term in the loss."""
    model = net()
    optimizer = make(model.parameters())
    for batch in data():
        optimizer.zero_grad()
        for part in losses(model, batch):
            (part + loss(model) / 2).backward()
        optimizer.step()
        loss.advance()
    return model


def same(one, two, **tolerance):
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.01),
    "fused": lambda parameters: torch.optim.Adam(parameters, 0.01, fused=True),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_ten_steps_with_accumulation_are_those_with_the_term_in_the_loss(kind):
    expected = by_hand(topographic(Ramp(0.3, 5)), OPTIMIZERS[kind])
    model = net()
    optimizer = OPTIMIZERS[kind](model.parameters())
    with attach(topographic(Ramp(0.3, 5)), model, optimizer) as attached:
        for batch in data():
            optimizer.zero_grad()
            for part in losses(model, batch):
                part.backward()
            optimizer.step()
    same(model, expected)
    assert attached.value == pytest.approx(topographic(0.3)(model).item(), rel=0.1)
    assert attached.topographic.steps == STEPS


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("unscale", [False, True])
def test_gradients_that_are_scaled_get_a_scaled_term(kind, unscale):
    def trained(by_hand):
        model, loss = net(), topographic()
        optimizer = OPTIMIZERS[kind](model.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
        attached = None if by_hand else attach(loss, model, optimizer)
        for x, y in data():
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = nn.functional.cross_entropy(model(x[0]), y[0])
                if by_hand:
                    value = value + loss(model)
            scaler.scale(value).backward()
            if unscale:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        if attached:
            attached.remove()
        return model

    same(trained(by_hand=False), trained(by_hand=True), rtol=1e-4, atol=1e-5)


def test_a_closure_gives_the_term_s_loss_and_gradient_as_well():
    def trained(by_hand):
        model, loss = net(), topographic()
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
        attached = None if by_hand else attach(loss, model, optimizer)
        for x, y in data()[:3]:

            def closure(x=x, y=y):
                optimizer.zero_grad()
                value = nn.functional.cross_entropy(model(x[0]), y[0])
                if by_hand:
                    value = value + loss(model)
                value.backward()
                return value.detach()

            optimizer.step(closure)
        if attached:
            attached.remove()
        return model

    same(trained(by_hand=False), trained(by_hand=True), rtol=1e-3, atol=1e-4)


def test_clipping_before_the_step_takes_the_term_along_when_it_was_added_by_hand():
    def trained(by_hand):
        model, loss = net(), topographic(3.0)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for x, y in data():
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(model(x[0]), y[0])
            (value + loss(model) if by_hand else value).backward()
            if not by_hand:
                loss.add_gradient(model)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        return model

    same(trained(by_hand=False), trained(by_hand=True))


def test_it_can_be_added_at_some_steps_only_and_the_stronger():
    model, expected, loss = net(), net(), topographic()
    optimizers = [torch.optim.SGD(each.parameters(), 0.1) for each in (model, expected)]
    with attach(topographic(), model, optimizers[0], every=3):
        for step, (x, y) in enumerate(data()):
            for each, optimizer in zip((model, expected), optimizers, strict=True):
                optimizer.zero_grad()
                value = nn.functional.cross_entropy(each(x[0]), y[0])
                if each is expected and step % 3 == 0:
                    value = value + 3 * loss(each)
                value.backward()
                optimizer.step()
    same(model, expected)
    with pytest.raises(SettingError, match="every=0"):
        loss.add_gradient(model, every=0)


def test_removing_leaves_the_optimizer_as_it_was():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    attached = attach(topographic(), model, optimizer)
    attached.remove()
    attached.remove()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    before = copy.deepcopy(model)
    optimizer.step()
    same(model, before)


def test_what_would_do_nothing_is_refused():
    model = net()
    frozen = torch.optim.SGD(model[4].parameters(), 0.1)
    with pytest.raises(AttachError, match="none of the weights of 0, 2"):
        attach(topographic(), model, frozen)
    with pytest.raises(AttachError, match="watch"):
        attach(topographic(on="activations"), model, torch.optim.SGD(model.parameters(), 0.1))


DDP = """
import sys, torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, sys.argv[1])
from test_attach import data, losses, net, topographic
from torchprobe_topography import attach
rank, folder, by_hand = int(sys.argv[2]), sys.argv[3], sys.argv[4] == "hand"
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meet-{sys.argv[4]}", rank=rank, world_size=2
)
model, loss = net(), topographic()
ddp = DistributedDataParallel(model)
optimizer = torch.optim.Adam(ddp.parameters(), 0.01)
if not by_hand:
    attach(loss, ddp, optimizer)
for batch in data(seed=rank):
    optimizer.zero_grad()
    first, second = zip(*batch)
    for x, y in (first, second):
        value = nn.functional.cross_entropy(ddp(x), y) / 2
        (value + loss(ddp) / 2 if by_hand else value).backward()
    optimizer.step()
torch.save(model.state_dict(), f"{folder}/{sys.argv[4]}-{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_every_process_of_ddp_gets_the_parameters_of_the_term_in_the_loss(tmp_path):
    here = __file__.rpartition("/")[0]
    processes = [
        subprocess.Popen([sys.executable, "-c", DDP, here, rank, str(tmp_path), how])
        for how, rank in itertools.product(("hand", "attached"), "01")
    ]
    for process in processes:
        assert process.wait(60) == 0
    states = [
        torch.load(tmp_path / f"{how}-{rank}.pt") for how in ("hand", "attached") for rank in "01"
    ]
    for name, expected in states[0].items():
        assert torch.equal(states[2][name], states[3][name])
        torch.testing.assert_close(states[2][name], expected)
