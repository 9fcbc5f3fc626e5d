#include "kernels/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

bool pq_amx_may(pq_amx_kind kind)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18, AMX_TILE = 24 };
    unsigned a = 0, b = 0, c = 0, d = 0;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> kind & 1U) != 0 &&
           (d >> AMX_TILE & 1U) != 0 &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}
#else
bool pq_amx_may(pq_amx_kind kind)
{
    (void)kind;
    return false;
}
#endif
