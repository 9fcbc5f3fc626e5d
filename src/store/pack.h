/**
 * @file
 * JSON values packed, what is alike once: the records of a sweep share most of their
 * texts, and some of their objects. Nodes are texts, lists and objects; numbers stand in
 * them. A node refers to nodes before it, so there are no circles.
 */
#ifndef PQ_STORE_PACK_H
#define PQ_STORE_PACK_H

#include <jansson.h>

#include "core/text.h"

/** What is packed so far; {0} is nothing. Free with pq_packer_free. */
typedef struct {
    pq_text  nodes; /**< one after the other, each with its length */
    uint32_t n;
    json_t  *seen; /**< the bytes of a node: its number */
} pq_packer;

/**
 * Packs a text, a list or an object.
 * @param[out] node  its number, for pq_unpack
 * @retval PQ_ERR_NOMEM  Out of memory. @retval PQ_ERR_FORMAT  Nested too deeply.
 */
pq_status pq_pack(pq_packer *p, const json_t *value, uint32_t *node, pq_err *err);
void      pq_packer_free(pq_packer *p);

/** Packed nodes, and the values made of them so far; {0} is none. */
typedef struct {
    const char *bytes; /**< borrowed */
    size_t      size, n;
    size_t     *at;   /**< [n] */
    json_t    **made; /**< [n], or NULL */
} pq_unpacker;

/**
 * Finds the nodes in bytes that may come from anywhere.
 * @param[in] bytes  borrowed while the unpacker lives
 * @param[in] n      nodes that should be there
 * @retval PQ_ERR_FORMAT  They are not.
 */
pq_status pq_unpack_open(const char *bytes, size_t size, size_t n, pq_unpacker *out,
                         pq_err *err);

/** The value of a node, shared by all that contain it: not to be changed. Borrowed. NULL
 * when the bytes are damaged or memory is out. */
json_t *pq_unpack(pq_unpacker *u, uint32_t node);
void    pq_unpack_close(pq_unpacker *u);

#endif
