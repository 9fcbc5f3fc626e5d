"""Events of tf.data."""
import pytest

import pquant

tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed")


@pytest.mark.parametrize("batch", [256, 1000])
def test_a_dataset_gives_what_its_arrays_give(batch, tagger, jets):
    x, y = jets
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch)
    assert pquant.evaluate(tagger, dataset) == pquant.evaluate(tagger, (x, y))
    one_hot = dataset.map(lambda a, b: (a, tf.one_hot(b, 5))).prefetch(2)
    assert pquant.evaluate(tagger, one_hot) == pquant.evaluate(tagger, (x, y))
    small = pquant.compress_model(tagger, "quantization", bits=8, data=dataset)
    due = pquant.compress_model(tagger, "quantization", bits=8, data=(x, y))
    assert (small.predict(x, engine="reference") == due.predict(x, engine="reference")).all()
