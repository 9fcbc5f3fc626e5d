/**
 * @file
 * Where the products of a dense layer or a convolution lie in memory: rows of outputs,
 * each a sum over taps, runs of neighbours in the input. A dense layer has one tap, a
 * convolution one for each row of its kernel (or each cell, where groups or dilation
 * keep its cells apart).
 */
#ifndef PQ_EXEC_GEOMETRY_H
#define PQ_EXEC_GEOMETRY_H

#include "exec/engine.h"
#include "layers/kinds.h"

/** Owns `tap`. */
typedef struct {
    size_t outputs;                     /**< channels, or features */
    size_t groups, group_in, group_out; /**< channels of a group */
    size_t sum;                         /**< products of one output */
    bool   depthwise;                   /**< each channel on its own */
    /* Rows of a line lie row_step items apart; a flat operation has one line through all
     * samples. */
    bool   flat;
    size_t rows, lines, row_step, line_step;
    /* The input stands in a frame of zeros where the window leaves it. */
    bool      framed;
    size_t    frame_h, frame_w;
    size_t    channels;    /**< of the frame; depthwise: rounded up to lanes */
    size_t    cells;       /**< of the kernel in a tap */
    size_t    frame_count; /**< items of the frame, or of the image without one */
    pq_window window;
    size_t    taps, length;
    size_t   *tap; /**< [taps] offsets in items */
} pq_geometry;

/**
 * Geometry of a step's dense or conv2d layer.
 *
 * @param[in]  layer  the step's, or what stands in for it
 * @param[in]  lanes  channels of a depthwise frame are a multiple
 * @param[in]  quad   items of four bytes, where tiles may take them; 0: never. Channels
 * of a frame are then so many that a tap is made of equal steps of a tile.
 * @param[out] out    caller frees with pq_geometry_free, also on failure
 * @retval PQ_ERR_RANGE  The padded image does not fit into memory.
 */
pq_status pq_geometry_place(const pq_step *step, const pq_layer *layer, size_t lanes,
                            size_t quad, pq_geometry *out, pq_err *err);
void      pq_geometry_free(pq_geometry *g);

/** Where an image lies in its frame: nowhere, where all windows miss it. */
typedef struct {
    size_t above, left;    /**< lines and cells before it */
    size_t lines, columns; /**< of the image, from its first on */
} pq_geometry_inside;

pq_geometry_inside pq_geometry_place_image(const pq_geometry *g);

/** Lines of the frame, or of the image without one, that lines of outputs read. */
pq_range pq_geometry_read(const pq_geometry *g, pq_range lines);

/** Copies an image into such lines of its frame, with items of so many bytes, each `fill`
 * beside it. */
void pq_geometry_frame(const pq_geometry *g, pq_range lines, size_t item_bytes, int fill,
                       const void *in, void *frame);

/** Products of a sample. */
size_t pq_geometry_products(const pq_geometry *g);

/** Where weight k of an output channel stands among taps * length. */
static inline size_t pq_geometry_weight(const pq_geometry *g, size_t k)
{
    const size_t cell = k / g->group_in;

    return cell / g->cells * g->length + cell % g->cells * (g->length / g->cells) +
           k % g->group_in;
}

/** n rounded up to whole panels. */
size_t pq_geometry_whole(size_t n, size_t panel);

/** Output channels of the panel that starts at `channel`, and its width in memory: one or
 * two vectors, within one group; all channels of a depthwise convolution. */
size_t pq_geometry_panel(const pq_geometry *g, size_t lanes, size_t channel, size_t *n);

#endif
