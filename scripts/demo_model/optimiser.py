"""Muon for matrices and convolution kernels, Adam for everything else, split over the workers of a `Team`.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by the nearest orthogonal matrix. On this codec it
reached in equal time less than half of AdamW's error. Updates have RMS 0.2, so both halves share one
learning rate.
"""

from __future__ import annotations

import time
from functools import cache

import torch
from parallel import Team
from torch import Tensor

MUON_MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.98)
UPDATE_RMS = 0.2


@cache
def fastest_type() -> torch.dtype:
    """float32, or bfloat16 on processors that multiply it faster; on others it takes 4 times as long."""
    found = {}
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.ones(256, 256, dtype=kind)
        matrix @ matrix
        began = time.process_time()
        for _ in range(20):
            matrix @ matrix
        found[kind] = time.process_time() - began
    return min(found, key=found.get)


@torch.no_grad()
def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrix of [M, N] float32, by Newton-Schulz iterations."""
    x = matrix.to(fastest_type())
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).to(matrix.dtype)


class TeamOptimiser:
    """Updates the shared parameters of a team; each worker keeps, and updates, a part of them.

    use_muon[i] says whether parameter i is a matrix (or kernel, read as [out, rest]) for Muon.
    """

    def __init__(
        self, team: Team, use_muon: list[bool], weight_decay: float = 0.0, clip: float = 1.0
    ) -> None:
        self.team, self.use_muon, self.weight_decay, self.clip = team, use_muon, weight_decay, clip
        # The state lies in shared memory, so that any worker can save all of it.
        self.state: list[list[Tensor]] = []
        for parameter, muon in zip(team.parameters, use_muon, strict=True):
            buffers = 1 if muon else 2
            self.state.append([torch.zeros_like(parameter.data).share_memory_() for _ in range(buffers)])
        self.steps = 0
        self._owner = self._share_out()

    def _share_out(self) -> list[int]:
        """Worker of each parameter: the costliest first, to the worker with the least to do."""
        cost = []
        for parameter, muon in zip(self.team.parameters, self.use_muon, strict=True):
            rows = min(parameter.shape[0], parameter.numel() // parameter.shape[0]) if muon else 4
            cost.append(parameter.numel() * (10 + rows))
        load, owner = [0.0] * self.team.workers, [0] * len(cost)
        for index in sorted(range(len(cost)), key=lambda i: -cost[i]):
            owner[index] = load.index(min(load))
            load[owner[index]] += cost[index]
        return owner

    @torch.no_grad()
    def step(self, learning_rate: float, gradient_scale: float) -> float:
        """One update from the summed gradients times `gradient_scale`; returns the gradient's norm.

        Every worker calls it, after its last micro-batch.
        """
        team = self.team
        team.wait()
        mine = [i for i, owner in enumerate(self._owner) if owner == team.rank]
        norm = float(team.gather([team.sum_gradients(mine, gradient_scale)])[0]) ** 0.5
        if norm != norm or norm == float("inf"):
            return norm  # a step that overflowed is skipped
        shrink = min(1.0, self.clip / (norm + 1e-12))
        self.steps += 1
        for index in mine:
            parameter = team.parameters[index]
            gradient = parameter.grad.mul(shrink)
            update = self._muon(index, gradient) if self.use_muon[index] else self._adam(index, gradient)
            if self.use_muon[index] and self.weight_decay:
                parameter.mul_(1 - learning_rate * self.weight_decay)
            parameter.add_(update, alpha=-learning_rate)
        team.wait()
        return norm

    def _muon(self, index: int, gradient: Tensor) -> Tensor:
        (momentum,) = self.state[index]
        momentum.lerp_(gradient, 1 - MUON_MOMENTUM)
        direction = gradient.lerp(momentum, MUON_MOMENTUM).reshape(len(gradient), -1)
        return (orthogonalise(direction) * (UPDATE_RMS * max(direction.shape) ** 0.5)).view_as(gradient)

    def _adam(self, index: int, gradient: Tensor) -> Tensor:
        mean, square = self.state[index]
        mean.lerp_(gradient, 1 - ADAM_BETAS[0])
        square.lerp_(gradient.square(), 1 - ADAM_BETAS[1])
        mean_hat = mean / (1 - ADAM_BETAS[0] ** self.steps)
        return mean_hat / ((square / (1 - ADAM_BETAS[1] ** self.steps)).sqrt() + 1e-8)

    def state_dict(self) -> dict:
        """Everything needed to go on."""
        return {"steps": self.steps, "state": self.state}

    def load_state_dict(self, saved: dict) -> None:
        """Restores `state_dict()` in place."""
        self.steps = saved["steps"]
        for ours, theirs in zip(self.state, saved["state"], strict=True):
            for buffer, value in zip(ours, theirs, strict=True):
                buffer.copy_(value)
