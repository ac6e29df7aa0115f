"""A small language model that writes letter by letter: many steps at home, few exchanges.

Each site takes 50 steps between rounds; the next model follows with Nesterov momentum (DiLoCo). A
table has one row a letter, in the order of the text. The model is a transformer in plain PyTorch,
as in nanoGPT's small setting. Change what is marked.
"""

import math

import numpy as np
import torch
from numpy.random import Generator
from torch import nn
from torch.nn import functional

from comity.learning import Column, Nesterov, Study, Table, Tensor, Tensors
from comity.learning.pytorch import load_state, seed_torch, state_of, tensors_of

# CHANGE: the letters of the text, and how large the model is.
LETTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LAYERS, HEADS, WIDTH, WINDOW = 4, 4, 128, 64

# CHANGE: how it is trained.
ROUNDS, STEPS, BATCH = 40, 50, 12
WARM_UP, SOFT = 100, 5  # steps, of the study and of each round
HIGH, LOW = 1e-3, 1e-4  # learning rates


class Block(nn.Module):
    """Attention to what came before, then a small network, each added to what was there."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.attend = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.join = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (windows, letters, width); so is what comes back."""
        rows, length, _ = x.shape
        parts = self.attend(self.before(x)).view(rows, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.join(seen.transpose(1, 2).reshape(rows, length, WIDTH))
        return x + self.narrow(functional.gelu(self.wide(self.after(x))))


class Writer(nn.Module):
    """Scores of the next letter after each letter of a window."""

    def __init__(self) -> None:
        super().__init__()
        self.letter = nn.Embedding(len(LETTERS), WIDTH)
        self.place = nn.Embedding(WINDOW, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("join.weight", "narrow.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS if deep else 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: places of letters, (windows, letters); comes back (windows, letters, LETTERS)."""
        x = self.letter(x) + self.place(torch.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.last(x) @ self.letter.weight.T

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Mean nats a letter; x: windows with one letter more."""
        scores = self(x[:, :-1])
        return functional.cross_entropy(scores.flatten(0, 1), x[:, 1:].flatten())


STUDY = Study(
    name="characters",
    title="One line that says which texts are learned, and what for",
    columns=(
        Column("letter", "category", categories=tuple(str(ord(each)) for each in LETTERS)),
        Column("part", "category", categories=("train", "test")),
    ),
    tensors=(*tensors_of(Writer()), Tensor("steps", (1,), range=65_536.0, own=True)),
    rounds=ROUNDS,
    rule=Nesterov(server_lr=0.7, beta=0.9),
    weights="equal",
    weight_max=1,
)


def initial(seed: int) -> Tensors:
    """Small random weights; each site's own count of steps begins at 0."""
    torch.manual_seed(seed)
    return {**state_of(Writer()), "steps": np.zeros(1, np.float32)}


def train(weights: Tensors, table: Table, rng: Generator) -> tuple[Tensors, int]:
    """50 steps on windows drawn from this site's text."""
    seed_torch(rng)
    text, net = letters(table, "train"), load_state(Writer(), weights)
    done = int(weights["steps"][0])
    learn(net, text, rng, range(done, done + STEPS))
    return {**state_of(net), "steps": np.array([done + STEPS], np.float32)}, len(text)


def learn(net: Writer, text: torch.Tensor, rng: Generator, steps: range) -> None:
    """AdamW at a rate that rises at first and sinks in the end; `steps` are of the whole study."""
    flat = [weight for weight in net.parameters() if weight.dim() < 2]
    deep = [weight for weight in net.parameters() if weight.dim() >= 2]
    groups = [{"params": deep, "weight_decay": 0.1}, {"params": flat, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=HIGH, betas=(0.9, 0.99))
    for step in steps:
        starts = rng.integers(0, len(text) - WINDOW, BATCH)
        loss = net.loss(torch.stack([text[at : at + WINDOW + 1] for at in starts]))
        for group in adam.param_groups:
            group["lr"] = rate(step) * min(1.0, (1 + step - steps.start) / SOFT)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()


def rate(step: int) -> float:
    """The learning rate of a step."""
    if step < WARM_UP:
        return HIGH * (step + 1) / (WARM_UP + 1)
    part = min(1.0, (step - WARM_UP) / (ROUNDS * STEPS - WARM_UP))
    return LOW + (HIGH - LOW) * (1 + math.cos(math.pi * part)) / 2


def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
    """Mean nats a letter over this site's test text, each letter once."""
    text, net = letters(table, "test"), load_state(Writer(), weights)
    windows = text[: (len(text) - 1) // WINDOW * WINDOW + 1].unfold(0, WINDOW + 1, WINDOW)
    with torch.no_grad():
        found = [net.loss(some).item() * len(some) for some in windows.split(256)]
    return {"loss": sum(found) / len(windows)}


def letters(table: Table, part: str) -> torch.Tensor:
    """This site's text as places in LETTERS."""
    return torch.tensor(table.only("part", part)["letter"]).long()
