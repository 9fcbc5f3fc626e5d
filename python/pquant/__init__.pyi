from . import benchmarks as benchmarks, compression as compression, frameworks as frameworks, hep as hep
from ._call import (ConfigError as ConfigError, Error as Error, FormatError as FormatError,
                    InterruptedCall as InterruptedCall, NotFoundError as NotFoundError, RangeError as RangeError,
                    ShapeError as ShapeError, UnsupportedError as UnsupportedError, bar as bar)
from ._compress import compress_model as compress_model, generate_code as generate_code, load as load, save as save
from ._evaluate import (Metrics as Metrics, evaluate as evaluate, evaluate_b_tagging as evaluate_b_tagging,
                        evaluate_model as evaluate_model, measure_latency as measure_latency)
from ._events import Data as Data
from ._methods import Warned as Warned, methods as methods
from ._model import Model as Model
from ._numbers import Latency as Latency, Number as Number
from ._results import Results as Results, run as run
from .benchmarks import benchmark_compression as benchmark_compression
from .compression import (CompressionPipeline as CompressionPipeline, CPCompression as CPCompression,
                          LoRACompression as LoRACompression, LowRankCompression as LowRankCompression,
                          PruningCompression as PruningCompression, QuantizationCompression as QuantizationCompression,
                          TensorTrainCompression as TensorTrainCompression, TuckerCompression as TuckerCompression)
from .hep import HEPModelCompression as HEPModelCompression

__version__: str
