#include "formats/ways.h"

#include <string.h>

#include "core/file.h"
#include "core/foreign.h"
#include "core/memory.h"

/* What is known by members of a ZIP. */
static const struct {
    const char *members[2]; /* all of them, by their ends */
    const char *what, *way;
} archives[] = {
    {{"constants.pkl", "code/__torch__"},
     "a TorchScript program, which is not run",
     "in Python: import torch; torch.save(torch.jit.load('net.pt', 'cpu').state_dict(), "
     "'weights.pt')"},
    {{"archive_format", "model.json"},
     "an exported program of PyTorch (.pt2), which is not run",
     "in Python: import torch; "
     "torch.save(dict(torch.export.load('net.pt2').state_dict), 'weights.pt')"},
    {{"serialized_exported_program.json", ""},
     "an exported program of PyTorch (.pt2), which is not run",
     "in Python: import torch; "
     "torch.save(dict(torch.export.load('net.pt2').state_dict), 'weights.pt')"},
};

/* What is known by files of a folder. */
static const struct {
    const char *file, *what, *way;
} folders[] = {
    {"_CHECKPOINT_METADATA", "a checkpoint of Orbax",
     "in Python: import flax, orbax.checkpoint as ocp; open('net.msgpack', 'wb').write("
     "flax.serialization.to_bytes(ocp.StandardCheckpointer().restore('/path/of/it')))"},
    {"_METADATA", "a checkpoint of Orbax",
     "in Python: import flax, orbax.checkpoint as ocp; open('net.msgpack', 'wb').write("
     "flax.serialization.to_bytes(ocp.PyTreeCheckpointer().restore('/path/of/it')))"},
    {"saved_model.pb", "a SavedModel of TensorFlow",
     "in Python: import tf_keras; tf_keras.models.load_model('net').save('net.h5')"},
};

bool pq_way_archive(const char *path, const char **what, const char **way)
{
    for (size_t i = 0; i < sizeof archives / sizeof *archives; i++) {
        if (pq_foreign_zip_has(path, archives[i].members[0]) &&
            pq_foreign_zip_has(path, archives[i].members[1])) {
            *what = archives[i].what;
            *way  = archives[i].way;
            return true;
        }
    }
    return false;
}

bool pq_way_folder(const char *path, const char **what, const char **way)
{
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char      *file  = pq_path_join(path, folders[i].file);
        const bool there = file != NULL && pq_file_exists(file);
        pq_free(file);
        if (there) {
            *what = folders[i].what;
            *way  = folders[i].way;
            return true;
        }
    }
    return false;
}
