"""When a model in training is probed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchprobe.callbacks import Schedule
from torchprobe.errors import SettingError


@pytest.mark.parametrize(
    ("every", "steps", "epochs"),
    [
        (5, [5, 10], []),
        ("5 steps", [5, 10], []),
        ("step", list(range(1, 13)), []),
        ("epoch", [], [1, 2, 3, 4]),
        ("2 epochs", [], [2, 4]),
        ([3, 7], [3, 7], []),
        ("log", [1, 2, 3, 6, 10], []),
        (Schedule(steps=4, epochs=3), [4, 8, 12], [3]),
    ],
)
def test_schedules_in_short(every, steps, epochs):
    schedule = Schedule.parse(every)
    assert [step for step in range(13) if schedule.at_step(step)] == steps
    assert [epoch for epoch in range(1, 5) if schedule.at_epoch(epoch)] == epochs


@given(st.integers(1, 12), st.integers(1, 3000))
def test_a_logarithmic_scale_has_the_rounded_powers_and_no_other_step(per_decade, step):
    powers = {round(10 ** (k / per_decade)) for k in range(4 * per_decade + 1)}
    assert Schedule(per_decade=per_decade).at_step(step) == (step in powers)


@pytest.mark.parametrize("wrong", [0, -1, "fortnight", "0 steps", [0], [1.5], True and 2.5, None])
def test_what_cannot_be_read_says_what_can(wrong):
    with pytest.raises(SettingError, match="steps"):
        Schedule.parse(wrong)


def test_a_schedule_that_is_never_due_is_refused():
    with pytest.raises(SettingError, match="never be probed"):
        Schedule(start=False, end=False)
    assert not Schedule(steps=1).at_step(0)


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"epochs": 1.5}, {"per_decade": True}])
def test_numbers_are_checked(wrong):
    with pytest.raises(SettingError, match="whole number"):
        Schedule(**wrong)
