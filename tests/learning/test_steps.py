"""The server step: golden bytes, laws of its arithmetic, and the refusal of flush-to-zero."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import Malformed, StudyFault
from comity.learning import steps
from comity.learning.steps import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedYogi,
    Float32Array,
    Float64Array,
    Momentum,
    Nesterov,
    Rule,
    RuleCard,
    first_moments,
    flush_to_zero_fault,
    moments_count,
    rule_card,
    rule_of,
    step_chunk,
)

VECTOR = Path(__file__).parents[1] / "vectors" / "learning" / "steps.json"
RULES: dict[str, Rule] = {
    "fedavg": FedAvg(),
    "fedavg-half": FedAvg(0.5),
    "fedadam": FedAdam(0.01, 0.9, 0.999, 1e-8),
    "fedyogi": FedYogi(0.01, 0.9, 0.99, 1e-3),
    "fedadagrad": FedAdagrad(0.316228, 0.9, 1e-8),
    "momentum": Momentum(0.5, 0.9),
    "nesterov": Nesterov(0.7, 0.9),
}


def small_model(count: int = 257) -> tuple[Float32Array, list[Float64Array]]:
    """A model and three mean updates from integers alone; tiny, large and zero entries occur."""
    number = np.arange(count, dtype=np.int64)
    weights = (((number * 7919) % 2001 - 1000) / 512).astype(np.float32)
    means = [
        ((number * 104_729 + 31 * turn) % 4001 - 2000) / 2.0 ** (10 + (number + turn) % 50)
        for turn in range(3)
    ]
    return weights, means


def run(rule: Rule, count: int = 257, chunk: int = 257) -> list[Float32Array]:
    weights, means = small_model(count)
    vectors = [weights, *first_moments(rule, count)]
    for mean in means:
        after = [np.empty_like(vector) for vector in vectors]
        for start in range(0, count, chunk):
            cut = slice(start, start + chunk)
            moments = tuple(vector[cut] for vector in vectors[1:])
            model, moments = step_chunk(rule, vectors[0][cut], moments, mean[cut])
            for vector, part in zip(after, (model, *moments), strict=True):
                vector[cut] = part
        vectors = after
    return vectors


@pytest.mark.parametrize("name", RULES)
def test_three_steps_give_the_golden_bytes(name: str) -> None:
    golden = json.loads(VECTOR.read_text())[name]
    found = [
        hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest() for vector in run(RULES[name])
    ]
    assert found == golden["sha256"]
    assert [float(number).hex() for number in run(RULES[name])[0][:4]] == golden["first"]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("chunk", [1, 7, 64, 256])
def test_chunks_of_any_size_give_the_same_bytes(name: str, chunk: int) -> None:
    for whole, cut in zip(run(RULES[name]), run(RULES[name], chunk=chunk), strict=True):
        assert whole.tobytes() == cut.tobytes()


def test_rules_follow_their_formulas() -> None:
    """Against the formulas of the docstrings, evaluated in exact order-free float64."""
    weights = np.array([1.0, -2.0], np.float32)
    mean = np.array([0.25, -0.5])
    state = (np.array([0.5, 0.0], np.float32), np.array([0.01, 1.0], np.float32))
    m = 0.9 * state[0] + 0.1 * mean
    for rule, v in (
        (FedAdam(0.01, 0.9, 0.99, 1e-3), 0.99 * state[1] + 0.01 * mean**2),
        (
            FedYogi(0.01, 0.9, 0.99, 1e-3),
            state[1] - 0.01 * mean**2 * np.sign(state[1] - mean**2),
        ),
        (FedAdagrad(0.01, 0.9, 1e-3), state[1] + mean**2),
    ):
        after, moments = step_chunk(rule, weights, state, mean)
        np.testing.assert_allclose(after, weights + 0.01 * m / (np.sqrt(v) + 1e-3), rtol=1e-6)
        np.testing.assert_allclose(moments[0], m, rtol=1e-6)
        np.testing.assert_allclose(moments[1], v, rtol=1e-6)
    after, moments = step_chunk(FedAvg(), weights, (), mean)
    assert after.tolist() == [1.25, -2.5] and moments == ()
    speed = 0.9 * state[0] + mean
    steps_of = ((Momentum(0.5, 0.9), speed), (Nesterov(0.5, 0.9), 0.9 * speed + mean))
    for with_speed, step in steps_of:
        after, moments = step_chunk(with_speed, weights, state[:1], mean)
        np.testing.assert_allclose(after, weights + 0.5 * step, rtol=1e-6)
        np.testing.assert_allclose(moments[0], speed, rtol=1e-6)


@pytest.mark.parametrize("rule", [Momentum(0.7, 0.0), Nesterov(0.7, 0.0)])
def test_momentum_with_beta_zero_is_fedavg_to_the_bit(rule: Rule) -> None:
    assert run(rule)[0].tobytes() == run(FedAvg(0.7))[0].tobytes()


def test_a_step_changes_nothing_that_it_is_given() -> None:
    for rule in RULES.values():
        weights, means = small_model()
        moments = first_moments(rule, len(weights))

        def now(
            weights: Float32Array = weights,
            moments: tuple[Float32Array, ...] = moments,
            mean: Float64Array = means[0],
        ) -> list[bytes]:
            return [weights.tobytes(), *(moment.tobytes() for moment in moments), mean.tobytes()]

        before = now()
        step_chunk(rule, weights, moments, means[0])
        assert now() == before


def test_only_element_wise_calls_are_used() -> None:
    """Every NumPy name in the file is on this list: no sum, dot, power, mean, einsum."""
    allowed = {
        "NDArray", "add", "astype", "divide", "dtype", "float32", "float64", "full", "multiply",
        "sign", "sqrt", "subtract", "uint32", "uint64", "zeros", "typing",
    }  # fmt: skip  # a list to read
    tree = ast.parse(inspect.getsource(steps))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("np", "npt")
    }
    assert used <= allowed
    for node in ast.walk(tree):  # MILLION and TRILLION are powers of constants
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.MatMult):
            assert isinstance(node.left, ast.Constant)


def test_first_moments_start_at_zero_and_tau_squared() -> None:
    assert first_moments(FedAvg(), 3) == () and moments_count(FedAvg()) == 0
    assert [moment.tolist() for moment in first_moments(Nesterov(), 3)] == [[0, 0, 0]]
    m, v = first_moments(FedAdam(tau=1e-3), 3)
    assert m.tolist() == [0, 0, 0]
    assert v.tolist() == [float(np.float32(1e-6))] * 3


@pytest.mark.parametrize("rule", RULES.values())
def test_a_rule_comes_back_from_its_whole_numbers(rule: Rule) -> None:
    assert rule_of(rule_card(rule)) == rule


@given(
    st.sampled_from(["fedavg", "fedadam", "fedyogi", "fedadagrad", "momentum", "nesterov"]),
    st.lists(st.integers(-5, 2 * 10**12), min_size=4, max_size=4),
)
def test_any_card_is_a_rule_or_malformed(name: str, numbers: list[int]) -> None:
    card = RuleCard(name, *numbers)  # type: ignore[arg-type]  # the names are sampled
    with contextlib.suppress(Malformed):
        assert rule_card(rule_of(card)) == card


@pytest.mark.parametrize(
    "card",
    [
        RuleCard("fedavg", 0, 0, 0, 0),
        RuleCard("fedavg", 1_000_000, 1, 0, 0),
        RuleCard("fedadagrad", 10_000, 900_000, 1, 10_000),
        RuleCard("fedadam", 10_000, 1_000_000, 999_000, 10_000),
        RuleCard("fedyogi", 10_000, 900_000, 999_000, 0),
        RuleCard("momentum", 10_000, 1_000_000, 0, 0),
        RuleCard("nesterov", 10_000, 900_000, 0, 1),
    ],
)
def test_cards_no_study_can_declare_are_malformed(card: RuleCard) -> None:
    with pytest.raises(Malformed):
        rule_of(card)


def test_settings_finer_than_a_millionth_are_refused() -> None:
    for make in (
        lambda: FedAvg(1 / 3),
        lambda: FedAvg(1e-7),
        lambda: FedAvg(-1.0),
        lambda: FedAvg(float("nan")),
        lambda: FedAdam(beta1=1.0),
        lambda: FedAdam(beta2=-0.1),
        lambda: FedYogi(tau=0.0),
        lambda: FedAdagrad(tau=1e-13),
        lambda: Momentum(beta=1.0),
        lambda: Nesterov(server_lr=0.0),
    ):
        with pytest.raises(StudyFault):
            make()


def test_this_thread_computes_as_it_must() -> None:
    assert flush_to_zero_fault() is None


SET_MXCSR = """
import ctypes, mmap, sys
code = bytes.fromhex("0fae17c3")  # ldmxcsr [rdi]; ret
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
from comity.learning.steps import flush_to_zero_fault
assert flush_to_zero_fault() is None
word = ctypes.c_uint32(int(sys.argv[1], 16))
call(ctypes.addressof(word))
print(flush_to_zero_fault())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets the MXCSR register of x86_64")
@pytest.mark.parametrize(
    ("register", "expected"),
    [("9f80", "flush-to-zero"), ("1fc0", "denormals-are-zero"), ("9fc0", "flush-to-zero")],
)
def test_attack_44_flush_to_zero_is_noticed(register: str, expected: str) -> None:
    """A library of the process really switches it on, by the processor's own register."""
    done = subprocess.run(
        [sys.executable, "-c", SET_MXCSR, register], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(expected)
