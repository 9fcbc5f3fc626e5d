/**
 * @file
 * State dicts: named arrays without their network, whoever wrote them. The network is
 * one of the zoo, or a short YAML of layers (docs/file-formats.md).
 *
 * PyTorch's arrays are called "weight" and have channels first; Keras's and Flax's are
 * called "kernel" and have them last. Both are turned into our order.
 */
#ifndef PQ_FORMATS_STATE_H
#define PQ_FORMATS_STATE_H

#include "core/map.h"
#include "graph/graph.h"
#include "io/yaml.h"

/** Schema of a YAML of layers. */
#define PQ_STATE_SCHEMA "pquant-layers/1"

/** Names of the arrays that hold a network's scaler, where it has one. */
#define PQ_STATE_SCALER_MEAN "scaler.mean"
#define PQ_STATE_SCALER_STD  "scaler.std"

/** An array of a file. */
typedef struct {
    char    *name; /**< owned */
    pq_shape shape;
    size_t   at; /**< the reader's own: which one */
    bool     used;
} pq_state_entry;

/** What a file holds. */
typedef struct {
    size_t          n;
    pq_state_entry *entries; /**< [n], owned, in the file's order */
    pq_map          map;     /**< the file's bytes, owned */
    void           *file;    /**< the reader's own */
    /** The array as float32: axis i of it is axis axes[i] of the file's, or, with NULL,
     * axis i. Asked for once. */
    pq_status (*read)(void *file, size_t at, const size_t *axes, pq_tensor **out,
                      pq_err *err);
    void (*close)(void *file); /**< frees what the reader owns */
} pq_state;

/** Lists the arrays of the file in state->map. Caller frees `state`, also on failure, and
 * names the file in messages. */
typedef pq_status pq_state_open(pq_state *state, pq_err *err);

extern pq_state_open pq_torch_open, pq_safetensors_open, pq_npz_open, pq_flax_open;

/** Appends an entry. What no network reads ("num_batches_tracked") is left out. */
pq_status pq_state_add(pq_state *state, const char *name, size_t name_bytes,
                       const pq_shape *shape, size_t at, pq_err *err);
void      pq_state_free(pq_state *state);

/** Refuses an array that has other than the bytes its shape and type take. */
pq_status pq_state_check_bytes(const pq_shape *shape, pq_dtype dtype, size_t bytes,
                               pq_err *err);

/** An array that is filled with its numbers in the order of the file. */
typedef struct {
    pq_dtype   dtype;                                     /**< in the file */
    pq_tensor *to;                                        /**< float32; the caller's */
    size_t     ndim, dim[PQ_MAX_DIMS], step[PQ_MAX_DIMS]; /**< the file's axes in `to` */
    size_t     index[PQ_MAX_DIMS], place;                 /**< of the next number */
} pq_state_fill;

/**
 * Makes an array without its numbers.
 * @param[in] shape  in the file
 * @param[in] axes   as pq_state.read
 */
pq_status pq_state_fill_start(pq_dtype dtype, const pq_shape *shape, const size_t *axes,
                              pq_state_fill *out, pq_err *err);

/** Puts the next n numbers in their places. No more than the shape's. */
void pq_state_fill_put(pq_state_fill *f, const void *bytes, size_t n);

/** All at once from a mapped file, whose pages are let go of. `bytes` are as many as
 * pq_state_check_bytes lets pass. */
pq_status pq_state_floats(pq_dtype dtype, const pq_shape *shape, const uint8_t *bytes,
                          const size_t *axes, pq_tensor **out, pq_err *err);

/**
 * Opens a file and gives the network with its weights.
 *
 * @param[in] arch  name of the zoo, or path of a YAML of layers; NULL is refused with the
 *                  way out
 * @retval PQ_ERR_SHAPE   An array does not fit its layer: both are named.
 * @retval PQ_ERR_FORMAT  Arrays are missing, or belong to no layer.
 */
pq_status pq_state_load(pq_state_open *open, const char *path, const char *arch,
                        pq_graph **out, pq_err *err);

/** Whose names and order of axes arrays are written with. */
typedef enum { PQ_STATE_TORCH, PQ_STATE_FLAX } pq_state_style;

/** What a weight of ours ("kernel") is called in a style: its own name where no framework
 * has one for it. */
const char *pq_state_name(const char *weight, pq_state_style style);

/** Takes an array that is to be written: "fc1.weight", or "fc1/kernel". */
typedef pq_status (*pq_state_sink)(void *context, const char *name, const pq_tensor *t,
                                   pq_err *err);

/**
 * Gives all arrays of a network, and its scaler.
 * @retval PQ_ERR_UNSUPPORTED  Values lie on a grid, which arrays cannot tell.
 */
pq_status pq_state_write(const pq_graph *graph, pq_state_style style, pq_state_sink put,
                         void *context, pq_err *err);

/** Array of a module by what it is ("kernel", "gamma", … as here), or NULL. `module` may
 * stand behind "params." or "batch_stats.". */
pq_state_entry *pq_state_find(pq_state *state, const char *module, const char *what);

/** Puts an array into a layer in our order of axes, and marks it as used.
 * @param[in] what  the weight, "kernel", … */
pq_status pq_state_take(pq_state *state, pq_state_entry *entry, const char *what,
                        pq_tensor **out, pq_err *err);

/** Which of PyTorch's values each value of a node is. */
typedef struct {
    size_t *from; /**< [n] or NULL: the same */
    size_t  n;
    bool    lost; /**< it has no such order */
} pq_state_order;

/** Of the first n nodes of a graph. */
typedef struct {
    size_t          n, room;
    pq_state_order *nodes;
} pq_state_orders;

/** Appends those of all nodes that are new in a graph whose shapes are known. */
pq_status pq_state_orders_extend(pq_state_orders *o, const pq_graph *g, pq_err *err);
void      pq_state_orders_free(pq_state_orders *o);

/** Puts the columns of a dense kernel, or a vector of a norm, that read a node of this
 * order from PyTorch's order into ours, or back. Replaces *t.
 * @retval PQ_ERR_UNSUPPORTED  The order is lost. */
pq_status pq_state_order_turn(const pq_state_order *order, const pq_layer *layer,
                              const char *what, bool ours, pq_tensor **t, pq_err *err);

/** Whether a module's arrays are PyTorch's, by the name of its kernel or mean. */
bool pq_state_is_torch(const pq_state_entry *entry);

/** Builds the network of a YAML of layers. */
pq_status pq_state_from_yaml(pq_state *state, const char *path, pq_graph **out,
                             pq_err *err);

/** Sets an attribute of a layer from a scalar or a list of them; messages tell the place.
 */
pq_status pq_state_yaml_set(pq_layer *layer, const char *attribute, const pq_yaml *value,
                            pq_err *err);

/** Such a YAML with what names and shapes tell, for pq_state_from_yaml; the rest is for
 * its user to fill in, and said in comments. */
pq_status pq_state_template(const pq_state *state, pq_text *out, pq_err *err);

/** Reads the names and shapes of a file of any format of arrays and gives its template.
 * @retval PQ_ERR_FORMAT  The file is none. */
pq_status pq_state_template_of(const char *path, pq_text *out, pq_err *err);

#endif
