"""Files and contenders of `inference` and `quantize`: networks, events, and everybody's settings."""

import pathlib

import h5py
import numpy as np
import torch
from torch import nn

from contest import Contender
from networks import Resnet8, mlp

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = HERE / "contender.py"
JETS = HERE.parent / "datasets/models/jsc-mlp.h5"


def jet_mlp():
    """The shipped jet tagger, as a torch module."""
    model = nn.Sequential(*mlp(16, 64, 32, 32, 5), nn.Softmax(dim=1)).eval()
    with h5py.File(JETS) as f:
        for layer, name in zip([m for m in model if isinstance(m, nn.Linear)], ("fc1", "fc2", "fc3", "output")):
            layer.weight.data = torch.from_numpy(f[f"weights/{name}/kernel"][()])
            layer.bias.data = torch.from_numpy(f[f"weights/{name}/bias"][()])
    return model


def resnet8(path):
    """MLPerf Tiny's network from its Keras file; layers are numbered by kind in order."""
    model, numbers = Resnet8(), {}
    with h5py.File(path) as f:
        for layer in model.layers():
            kind = {nn.BatchNorm2d: "batch_normalization", nn.Linear: "dense"}.get(type(layer), "conv2d")
            number = numbers.get(kind, 0)
            numbers[kind] = number + 1
            name = kind if number == 0 else f"{kind}_{number}"
            get = lambda what: torch.tensor(f[f"model_weights/{name}/{name}/{what}:0"][()])
            if kind == "batch_normalization":
                layer.weight.data, layer.bias.data = get("gamma"), get("beta")
                layer.running_mean, layer.running_var = get("moving_mean"), get("moving_variance")
            else:
                kernel = get("kernel")
                layer.weight.data = kernel.T.contiguous() if kind == "dense" else kernel.permute(3, 2, 0, 1).contiguous()
                layer.bias.data = get("bias")
    return nn.Sequential(model, nn.Softmax(dim=1)).eval()


class Folder:
    """What the contenders of one network read, and what they answer."""

    def __init__(self, path, name, model, x):
        self.path, self.name = pathlib.Path(path), name
        self.outputs = model(torch.from_numpy(x[:1])).shape[1]
        self.torch, self.onnx = str(self.path / f"{name}.pt"), str(self.path / f"{name}.onnx")
        torch.save(model, self.torch)
        torch.onnx.export(model, (torch.from_numpy(x[:1]),), self.onnx, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, opset_version=17, dynamo=False)
        self.due = model(torch.from_numpy(x)).numpy()
        self.x, self.nhwc = str(self.path / f"{name}.npy"), str(self.path / f"{name}.nhwc.npy")
        np.save(self.x, x)
        np.save(self.nhwc, np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x)

    def contender(self, rival, version, setting, **arguments):
        save = str(self.path / f"{self.name}.{rival}.{setting}.out.npy".replace(" ", "-"))
        c = Contender(rival, version, setting, SCRIPT, {"x": self.x, "save": save, "outputs": self.outputs, **arguments})
        c.save = save
        return c

    def rivals(self):
        import onnxruntime
        import openvino

        found, version = [], {"torch": torch.__version__.split("+")[0], "openvino": openvino.__version__.split("-")[0]}
        for threads in (1, 2):
            word = f"{threads} thread" + "s" * (threads - 1)
            for mode in ("eager", "jit frozen", "compiled"):
                found.append(self.contender("torch f32", version["torch"], f"{word}, {mode}", what="torch", model=self.torch,
                                            threads=threads, mode=mode))
            found.append(self.contender("onnxruntime f32", onnxruntime.__version__, word, what="onnx", model=self.onnx, threads=threads))
            for mode in ("f32", "bf16"):
                found.append(self.contender(f"openvino {mode}", version["openvino"], word, what="openvino", model=self.onnx,
                                            threads=threads, mode=mode))
        return found

    def ours(self, library, model, engine):
        """An engine on one thread and on two."""
        return [self.contender(f"pquant {engine}", "this tree", f"{threads} thread" + "s" * (threads - 1), what="ours", library=library,
                               model=str(model), engine=engine, threads=threads, x=self.nhwc) for threads in (1, 2)]

    def off(self, contender):
        """Largest difference of its outputs from torch's in float32; None where it has none."""
        path = pathlib.Path(contender.save)
        return float(np.abs(np.load(path) - self.due).max()) if path.exists() else None


class Events:
    """Calibration of ONNX Runtime: one event after the other."""

    def __init__(self, events):
        self.left = iter(events)

    def get_next(self):
        event = next(self.left, None)
        return None if event is None else {"x": event[None]}


def rivals_int8(folder, f, events):
    """ONNX Runtime's own static quantization and NNCF's, per channel: paths of the two."""
    import nncf
    import openvino
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    qdq, ir = f"{folder}/qdq.onnx", f"{folder}/nncf.xml"
    quantize_static(f.onnx, qdq, Events(events), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    quantized = nncf.quantize(openvino.Core().read_model(f.onnx), nncf.Dataset([e[None] for e in events]), subset_size=len(events))
    openvino.save_model(quantized, ir)
    return qdq, ir
