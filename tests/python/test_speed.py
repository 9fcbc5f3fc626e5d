"""Ratios and times that the package promises; ratios are of calls that take turns, by the least of many."""
import time

import numpy as np
import torch
from conftest import TAGGER
from torch import nn

import pquant
from pquant._call import check, ffi, lib
from pquant._model import describe_array


def least(rounds, *calls):
    """The least processor time, of all threads, of each call; they take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            best[i] = min(best[i], time.process_time() - start)
    return best


def test_a_million_jets_cost_what_the_c_library_alone_costs():
    model = pquant.load(TAGGER)
    x = np.random.default_rng(0).normal(size=(1_000_000, 16)).astype(np.float32)
    plan, _ = model._plan(None, 1)

    def c_library():
        out = np.empty((len(x), 5), np.float32)
        inputs, output = ffi.new("pquant_array[]", 1), ffi.new("pquant_array *")
        describe_array(x, inputs[0])
        describe_array(out, output)
        check(lib.pquant_plan_predict(plan, inputs, output))
        return out
    assert np.array_equal(model.predict(x, threads=1), c_library())
    ours, bare = least(12, lambda: model.predict(x, threads=1), c_library)
    assert ours < 1.05 * bare, (ours, bare)


def test_compressing_a_dense_net_takes_a_tenth_of_a_second():
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        took, = least(9, lambda: pquant.compress_model(net, "svd", rank=64))
    finally:
        torch.set_num_threads(before)
    assert took < 0.1, took
