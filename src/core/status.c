#include "core/status.h"

#include <errno.h>

static const struct {
    const char *text;
    int         exit_code;
} table[] = {
#define PQ_STATUS_ROW(name, text, exit_code) [PQ_##name] = {text, exit_code},
    PQ_STATUS_MAP(PQ_STATUS_ROW)
#undef PQ_STATUS_ROW
};

const char *pq_status_text(pq_status st)
{
    return table[st].text;
}

int pq_status_exit_code(pq_status st)
{
    return table[st].exit_code;
}

pq_status pq_status_of_errno(int number)
{
    switch (number) {
    case ENOENT:
        return PQ_ERR_NOT_FOUND;
    case ENOMEM:
        return PQ_ERR_NOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENXIO:
    case EINVAL:
    case EILSEQ:
    case ENAMETOOLONG:
        return PQ_ERR_ACCESS;
    default:
        return PQ_ERR_IO;
    }
}
