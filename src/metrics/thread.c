#define _GNU_SOURCE
#include "metrics/thread.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum { FLUSH_TO_ZERO = 0x8040 /* MXCSR: FTZ and DAZ */ };

pq_thread_state pq_thread_enter(bool pin)
{
    pq_thread_state before = {0};
    const int       core   = sched_getcpu();
    cpu_set_t       one;

    if (pin && core >= 0 &&
        sched_getaffinity(0, sizeof before.cores, &before.cores) == 0) {
        CPU_ZERO(&one);
        CPU_SET((size_t)core, &one);
        before.pinned = sched_setaffinity(0, sizeof one, &one) == 0;
    }
#if defined(__SSE__)
    before.mxcsr = _mm_getcsr();
    _mm_setcsr(before.mxcsr | FLUSH_TO_ZERO);
#endif
    return before;
}

void pq_thread_leave(const pq_thread_state *before)
{
    if (before->pinned) {
        (void)sched_setaffinity(0, sizeof before->cores, &before->cores);
    }
#if defined(__SSE__)
    _mm_setcsr(before->mxcsr);
#endif
}
