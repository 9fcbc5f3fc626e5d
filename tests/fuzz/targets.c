/* The table of targets: whoever adds a parser adds a row. */
#include "targets.h"

const fuzz_target fuzz_targets[] = {
    {"model", "model files of our own (HDF5)", fuzz_model},
    {"keras", "models of Keras: HDF5 with the layers in it or in a file of JSON beside",
     fuzz_model},
    {"torch", "state dicts of PyTorch, both containers", fuzz_torch},
    {"state", "arrays in safetensors and npz, beside a YAML of layers", fuzz_state},
    {"onnx", "graphs of ONNX", fuzz_model},
    {"events", "datasets: every layout", fuzz_events},
    {"hdf5", "HDF5, whatever is in it, as the rooms above read it", fuzz_hdf5},
    {"hdf5_bytes", "HDF5 files with damaged bytes, read by a child process",
     fuzz_hdf5_bytes},
    {"hdf5_told", "what a child that went astray may tell of its file", fuzz_hdf5_told},
    {"yaml", "trees of YAML", fuzz_yaml},
    {"config", "configurations of sweeps and trainings, with their includes",
     fuzz_config},
    {"set", "manifests of sets, with files put where they belong", fuzz_set},
    {"archive", "tar archives, plain or gzip", fuzz_archive},
    {"zip", "ZIP archives: every member, and as a state dict", fuzz_zip},
    {"results",
     "folders of results: plan, records, arrays, hashes; tables, page and merge",
     fuzz_results},
    {"index", "what is remembered of records", fuzz_index},
    {"cache", "kept factorisations", fuzz_cache},
    {"checkpoint", "states of a training", fuzz_checkpoint},
    {0},
};
