"""Writes the nets of net_list, built in Keras over TensorFlow, by tf2onnx: of_tensorflow.py FOLDER.

FOLDER/K.onnx and FOLDER/K.npy, its outputs in TensorFlow for the events of net_list.events. A program of its own, as
Keras keeps the backend that it began with."""
import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import tensorflow
import tf2onnx

import net_list as nets


def main(folder):
    for k, net in enumerate(nets.NETS.values()):
        try:
            model = nets.keras_model(net)
        except nets.Lacks:
            continue
        np.save(f"{folder}/{k}.npy", model(nets.events(k, net), training=False))
        tf2onnx.convert.from_keras(model, [tensorflow.TensorSpec((None, *net[0]), name="x")], output_path=f"{folder}/{k}.onnx")


if __name__ == "__main__":
    main(sys.argv[1])
