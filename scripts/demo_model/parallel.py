"""Two workers train one model: shared parameters, elastic micro-batches, half the update each.

Multi-threaded operators wait for the slowest core at every barrier, which collapses when another program is
busy on one of them. Here each worker is a process with one thread on its own core. A step is a fixed list of
micro-batches; whoever is free takes the next one, so a worker on a loaded core simply does fewer. Parameters
and gradients lie in shared memory: there is one barrier before the update and one after it, and nothing is
sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

import torch
import torch.multiprocessing as mp
from memory import keep_freed_memory
from torch import Tensor, nn


class Team:
    """The workers of one training run; made before forking, while gradients are not yet allocated.

    parameters: the tensors to train; they are moved to shared memory.
    workers: number of processes; worker w is pinned to core w (modulo the cores there are).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], workers: int) -> None:
        self.parameters = list(parameters)
        self.workers = workers
        for parameter in self.parameters:
            parameter.data.share_memory_()
        sizes = [parameter.numel() for parameter in self.parameters]
        # [workers, all parameters]: each worker accumulates its own gradients in its row.
        self._gradients = torch.zeros(workers, sum(sizes)).share_memory_()
        self._context = mp.get_context("fork")
        self._next_micro = self._context.Value("l", 0)
        self._barrier = self._context.Barrier(workers)
        self._floats = torch.zeros(workers, 16, dtype=torch.float64).share_memory_()
        self.rank = 0

    def launch(self, work: Callable[[], None]) -> None:
        """Runs `work` in every worker; returns when all have ended, raises if one failed."""
        processes = []
        for rank in range(self.workers):
            process = self._context.Process(target=self._enter, args=(rank, work), daemon=True)
            process.start()
            processes.append(process)
        while any(process.is_alive() for process in processes):
            time.sleep(0.5)
            if any(process.exitcode not in (None, 0) for process in processes):
                for process in processes:
                    process.terminate()
                raise RuntimeError("a training worker failed; see the log above")

    def _enter(self, rank: int, work: Callable[[], None]) -> None:
        torch.set_num_threads(1)
        keep_freed_memory()
        self.rank = rank
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= self.workers:
            os.sched_setaffinity(0, {cores[rank]})
        offset = 0
        for parameter in self.parameters:
            row = self._gradients[rank, offset : offset + parameter.numel()]
            parameter.grad = row.view_as(parameter)
            offset += parameter.numel()
        work()

    def begin_step(self) -> None:
        """Clears this worker's gradients and rewinds the list of micro-batches."""
        self._gradients[self.rank].zero_()
        if self.rank == 0:
            self._next_micro.value = 0
        self.wait()

    def micro_batches(self, count: int) -> Iterable[int]:
        """Yields the micro-batches that this worker gets, until the step's `count` are used up."""
        while True:
            with self._next_micro.get_lock():
                micro = self._next_micro.value
                self._next_micro.value += 1
            if micro >= count:
                return
            yield micro

    def gather(self, values: list[float]) -> Tensor:
        """Sum over workers of up to 16 numbers, [len(values)] float64; a barrier."""
        self._floats[self.rank, : len(values)] = torch.tensor(values, dtype=torch.float64)
        self.wait()
        total = self._floats[:, : len(values)].sum(0)
        self.wait()
        return total

    def sum_gradients(self, mine: list[int], scale: float) -> float:
        """Sums and scales the gradients of the parameters `mine` in place; returns their square sum.

        Call after a barrier, with disjoint `mine` in each worker.
        """
        square, offsets, offset = 0.0, [], 0
        for parameter in self.parameters:
            offsets.append(offset)
            offset += parameter.numel()
        for index in mine:
            span = slice(offsets[index], offsets[index] + self.parameters[index].numel())
            total = self._gradients[:, span].sum(0).mul_(scale)
            self._gradients[self.rank, span] = total
            square += float(total.square().sum())
        return square

    def wait(self) -> None:
        """Waits for all workers."""
        self._barrier.wait()
