"""A contender of the comparisons `inference` and `quantize`: see contest.py.

The argument names what runs ("ours", "bare", "torch", "onnx", "openvino"), the files that compare.py has
prepared, and the setting; outputs are written once, so that compare.py can hold them against each other.
"""

import json
import os
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import contest

a = json.loads(sys.argv[1])
if a["threads"] == 1:  # for libraries that take no number of threads
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
x = np.load(a["x"]) if "x" in a else None


def ours():
    """A model file on an engine, on one thread (what `pquant run` times) or more."""
    import ctypes

    lib = ctypes.CDLL(a["library"])
    lib.bench_open.restype, lib.bench_kernels.restype = ctypes.c_void_p, ctypes.c_char_p
    lib.bench_kernels.argtypes = [ctypes.c_void_p]
    lib.bench_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    handle = lib.bench_open(a["model"].encode(), a["engine"].encode(), ctypes.c_size_t(len(x)), ctypes.c_size_t(a["threads"]))
    if not handle:
        sys.exit("pquant cannot run the model")
    y = np.zeros((len(x), a["outputs"]), np.float32)
    arguments = (ctypes.c_void_p(handle), ctypes.c_void_p(x.ctypes.data), ctypes.c_size_t(len(x)), ctypes.c_void_p(y.ctypes.data))
    return lib.bench_kernels(handle).decode(), lambda: lib.bench_run(*arguments), lambda: y


def bare():
    """The work of int8 ResNet-8 by oneDNN 2.6 alone; its weights are no network's."""
    import ctypes

    lib = ctypes.CDLL(a["library"])
    lib.bare_open.restype, lib.bare_kernel.restype = ctypes.c_void_p, ctypes.c_char_p
    lib.bare_kernel.argtypes = lib.bare_run.argtypes = [ctypes.c_void_p]
    handle = lib.bare_open(a["batch"])
    if not handle:
        sys.exit("oneDNN cannot make the network")
    return lib.bare_kernel(handle).decode(), lambda: lib.bare_run(handle), lambda: None


def run_torch():
    import torch

    torch.set_num_threads(a["threads"])
    torch.set_grad_enabled(False)
    model = torch.load(a["model"], weights_only=False).eval()
    t = torch.from_numpy(x)
    if t.ndim == 4:
        model, t = model.to(memory_format=torch.channels_last), t.to(memory_format=torch.channels_last)
    if a["mode"] == "jit frozen":
        model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, t)))
    elif a["mode"] == "compiled":
        import torch._inductor.config

        torch._inductor.config.freezing = True
        model = torch.compile(model)
        with torch.no_grad():
            for _ in range(3):
                model(t)
    kept = []

    def call():
        kept[:] = [model(t)]

    return a["mode"], call, lambda: kept[0].numpy()


def onnx():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = a["threads"]
    session = onnxruntime.InferenceSession(a["model"], options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x))
    result = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((len(x), a["outputs"]), np.float32))
    binding.bind_ortvalue_input("x", value)
    binding.bind_ortvalue_output("y", result)
    return "bound", lambda: session.run_with_iobinding(binding), result.numpy


def openvino():
    import openvino as ov

    core = ov.Core()
    model = core.read_model(a["model"])
    model.reshape(list(x.shape))
    hints = {"INFERENCE_NUM_THREADS": a["threads"], "PERFORMANCE_HINT": "LATENCY"}
    if a["mode"]:
        hints["INFERENCE_PRECISION_HINT"] = a["mode"]
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(np.ascontiguousarray(x), shared_memory=True))
    return a["mode"] or "its own default", request.infer, lambda: request.get_output_tensor(0).data


about, call, output = {"ours": ours, "bare": bare, "torch": run_torch, "onnx": onnx, "openvino": openvino}[a["what"]]()
call()
if output() is not None:
    np.save(a["save"], np.asarray(output()))
contest.serve(about, call)
