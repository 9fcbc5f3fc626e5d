/**
 * @file
 * A file that a child process has open, as the files that ask it see it. For the HDF5
 * wrapper alone.
 */
#ifndef PQ_IO_HDF5_READER_H
#define PQ_IO_HDF5_READER_H

#include <sys/stat.h>
#include <sys/types.h>

#include "io/hdf5_told.h"

struct pq_h5_reader {
    char         *path;
    struct stat   stamp; /* of the file when it was opened */
    size_t        file_bytes;
    pid_t         child, owner; /* the process that started it */
    int           fd;
    bool          heard;  /* what the child tells when it has opened the file */
    bool          let_go; /* it told all, and ends while its words are used */
    pq_h5_told    told;
    size_t        users;
    pq_h5_reader *next; /* of all that are open */
};

/** An object that was told. @retval PQ_ERR_NOT_FOUND  Hard links do not lead there. */
pq_status pq_h5_reader_find(pq_h5_reader *r, const char *path, pq_h5_told_object **out,
                            pq_err *err);

#endif
