#include "core/status.h"

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
