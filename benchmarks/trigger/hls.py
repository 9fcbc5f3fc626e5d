"""The jet tagger as hls4ml's C++, compiled as hls4ml does it; prints the library and its function of one event.

Arguments: the network as a torch module, the folder, the type of all numbers.
"""

import contextlib
import pathlib
import sys

import hls4ml
import torch

model, folder, precision = sys.argv[1:]
net = torch.load(model, weights_only=False).eval()
with contextlib.redirect_stdout(sys.stderr):
    config = hls4ml.utils.config_from_pytorch_model(net, (16,), granularity="name", backend="Vitis", default_precision=precision)
    hls4ml.converters.convert_from_pytorch_model(net, hls_config=config, output_dir=folder, project_name="jet", backend="Vitis").compile()
print(hls4ml.__version__, next(pathlib.Path(folder, "firmware").glob("jet-*.so")), "jet_float")
