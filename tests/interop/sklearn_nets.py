"""MLPs of scikit-learn as skl2onnx writes them: probabilities and values as its own, the label beside them left out."""
import subprocess
import warnings

import numpy as np
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor

from common import PQUANT, Cases
from library import Model

warnings.simplefilter("ignore")


def main():
    cases = Cases()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    classes, values = rng.integers(0, 3, 300), x[:, 0] ** 2
    for activation in ("relu", "tanh", "logistic", "identity"):
        how = {"hidden_layer_sizes": (8, 7), "activation": activation, "max_iter": 20, "random_state": 1}
        for what, net, output in (("classes", MLPClassifier(**how).fit(x, classes), "probabilities"), ("values", MLPRegressor(**how).fit(x, values), "variable")):
            written = to_onnx(net, x[:1], options={"zipmap": False} if what == "classes" else None, target_opset=17)
            with open("net.onnx", "wb") as f:
                f.write(written.SerializeToString())
            done = subprocess.run([PQUANT, "model", "convert", "net.onnx", "--output-layer", output, "-o", "net.h5"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            due = net.predict_proba(x) if what == "classes" else net.predict(x)[:, None]
            cases.add(f"{what}, {activation}", Model("net.h5")(x, engine="reference"), due, 1e-5)
    cases.finish()


if __name__ == "__main__":
    main()
