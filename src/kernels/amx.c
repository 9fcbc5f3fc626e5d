#include "kernels/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool ask(pq_amx_kind kind)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18, AMX_TILE = 24 };
    unsigned a = 0, b = 0, c = 0, d = 0;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> kind & 1U) != 0 &&
           (d >> AMX_TILE & 1U) != 0 &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}

/* Asked once: in a virtual machine each look at the processor costs tens of microseconds,
 * and the answer is part of every key of a plan. */
bool pq_amx_may(pq_amx_kind kind)
{
    enum { UNKNOWN, NO, YES };
    static atomic_int known[2];
    atomic_int       *at = &known[kind == PQ_AMX_INT8];

    if (atomic_load(at) == UNKNOWN) {
        atomic_store(at, ask(kind) ? YES : NO);
    }
    return atomic_load(at) == YES;
}
#else
bool pq_amx_may(pq_amx_kind kind)
{
    (void)kind;
    return false;
}
#endif
