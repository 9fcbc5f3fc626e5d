#define _GNU_SOURCE
#include "exec/onednn_primitive.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "core/memory.h"
#include "kernels/cpu.h"

enum { ARGS = 5 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t  machine;
static dnnl_stream_t  stream;
static bool           has_vnni;
static void (*set_threads)(int);
static _Thread_local bool is_single;

/* oneDNN may believe in AMX where the hypervisor has none (SIGILL), so the
   instruction set is capped before the first primitive; PQUANT_ISA caps it further. */
static dnnl_cpu_isa_t highest(void)
{
    if (pq_cpu_is_capped() && pq_cpu_isa() == PQ_ISA_PORTABLE) {
        return dnnl_cpu_isa_sse41;
    }
    return pq_cpu_is_capped() && pq_cpu_isa() == PQ_ISA_AVX2
               ? dnnl_cpu_isa_avx2
               : dnnl_cpu_isa_avx512_core_bf16;
}

static void start(void)
{
    (void)dnnl_set_max_cpu_isa(highest());
    has_vnni = dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core_vnni;
    *(void **)&set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (dnnl_engine_create(&machine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&stream, machine, dnnl_stream_default_flags) != dnnl_success) {
        stream = NULL;
    }
}

/* One thread a plan, as everywhere here; the number is a thread's own. A primitive keeps
   the number it was made under; in 2.6.3 two threads of a 1x1 of bytes, strided in width,
   write into each other's workspace where eight channels come in (wrong pixels now and
   then, also without our code). So primitives are made under one, too. */
static void be_single(void)
{
    if (!is_single && set_threads != NULL) {
        set_threads(1);
    }
    is_single = true;
}

bool pq_dnnl_start(void)
{
    (void)pthread_once(&once, start);
    return stream != NULL;
}

bool pq_dnnl_has_vnni(void)
{
    return pq_dnnl_start() && has_vnni;
}

const char *pq_dnnl_isa(void)
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char    *name;
    } names[] = {
        {dnnl_cpu_isa_sse41, "sse41"},
        {dnnl_cpu_isa_avx, "avx"},
        {dnnl_cpu_isa_avx2, "avx2"},
        {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
        {dnnl_cpu_isa_avx512_core, "avx512_core"},
        {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
        {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
    };

    (void)pq_dnnl_start();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].isa == dnnl_get_effective_cpu_isa()) {
            return names[i].name;
        }
    }
    return "other";
}

void pq_dnnl_free(pq_dnnl_variant *v)
{
    for (size_t i = 0; i < PQ_DNNL_SETS; i++) {
        (void)dnnl_memory_destroy(v->source[i]);
        (void)dnnl_memory_destroy(v->target[i]);
        (void)dnnl_memory_destroy(v->scratch[i]);
    }
    (void)dnnl_memory_destroy(v->weights);
    (void)dnnl_memory_destroy(v->bias);
    if (v->primitive != NULL) {
        (void)dnnl_primitive_destroy(v->primitive);
    }
    pq_free(v->packed);
}

void pq_dnnl_run(const pq_dnnl_variant *v, size_t set, const uint8_t *in, uint8_t *out,
                 void *scratch)
{
    const dnnl_exec_arg_t args[ARGS] = {
        {DNNL_ARG_SRC, v->source[set]},
        {DNNL_ARG_WEIGHTS, v->weights},
        {DNNL_ARG_BIAS, v->bias},
        {DNNL_ARG_DST, v->target[set]},
        {DNNL_ARG_SCRATCHPAD, v->scratch[set]},
    };

    be_single();
    (void)dnnl_memory_set_data_handle(v->source[set], (void *)(uintptr_t)in);
    (void)dnnl_memory_set_data_handle(v->target[set], out);
    (void)dnnl_memory_set_data_handle(v->scratch[set], scratch);
    (void)dnnl_primitive_execute(v->primitive, stream, ARGS, args);
}

static dnnl_status_t make_attributes(const pq_dnnl_shape *s, dnnl_primitive_attr_t *out)
{
    dnnl_primitive_attr_t a        = NULL;
    dnnl_post_ops_t       post_ops = NULL;
    const float           zero     = (float)s->target_zero;
    const float           least    = s->relu ? 0.0f : -zero; /* in steps, before zero */
    dnnl_status_t         st       = dnnl_primitive_attr_create(&a);

    st = st ? st : dnnl_post_ops_create(&post_ops);
    st = st ? st : dnnl_primitive_attr_set_scratchpad_mode(a, dnnl_scratchpad_mode_user);
    st = st ? st
            : dnnl_primitive_attr_set_output_scales(a, (dnnl_dim_t)s->units->outputs,
                                                    1 << 1, s->scale);
    if (st == dnnl_success && s->source_zero != 0) {
        st = dnnl_primitive_attr_set_zero_points(a, DNNL_ARG_SRC, 1, 0, &s->source_zero);
    }
    if (st == dnnl_success && s->target_zero != 0) {
        st = dnnl_primitive_attr_set_zero_points(a, DNNL_ARG_DST, 1, 0, &s->target_zero);
    }
    if (st == dnnl_success && s->bytes && (s->codes != 256 || least > -zero)) {
        st = dnnl_post_ops_append_eltwise(post_ops, 1.0f, dnnl_eltwise_clip, least,
                                          (float)(s->codes - 1) - zero);
        st = st ? st : dnnl_primitive_attr_set_post_ops(a, post_ops);
    } else if (st == dnnl_success && s->relu && !s->bytes) {
        st = dnnl_post_ops_append_eltwise(post_ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
        st = st ? st : dnnl_primitive_attr_set_post_ops(a, post_ops);
    }
    (void)dnnl_post_ops_destroy(post_ops);
    *out = a;
    return st;
}

static dnnl_status_t describe(const pq_dnnl_shape *s, size_t n,
                              dnnl_primitive_desc_t *out)
{
    const dnnl_dims_t       bias       = {(dnnl_dim_t)s->units->outputs};
    dnnl_primitive_attr_t   attributes = NULL;
    dnnl_memory_desc_t      x, w, b, y;
    dnnl_convolution_desc_t c;
    dnnl_dims_t             source, target;
    dnnl_status_t           st = make_attributes(s, &attributes);

    memcpy(source, s->source, sizeof source);
    memcpy(target, s->target, sizeof target);
    source[0] = target[0] = (dnnl_dim_t)n;
    st = st ? st : dnnl_memory_desc_init_by_tag(&x, 4, source, dnnl_u8, dnnl_nhwc);
    st = st ? st
            : dnnl_memory_desc_init_by_tag(&w, s->weight_dims, s->weights, dnnl_s8,
                                           dnnl_format_tag_any);
    st = st ? st : dnnl_memory_desc_init_by_tag(&b, 1, bias, dnnl_f32, dnnl_x);
    st = st ? st
            : dnnl_memory_desc_init_by_tag(&y, 4, target, s->bytes ? dnnl_u8 : dnnl_f32,
                                           dnnl_nhwc);
    st = st ? st
            : dnnl_dilated_convolution_forward_desc_init(
                  &c, dnnl_forward_inference, dnnl_convolution_direct, &x, &w, &b, &y,
                  s->stride, s->dilation, s->before, s->after);
    st = st ? st : dnnl_primitive_desc_create(out, &c, attributes, machine, NULL);
    (void)dnnl_primitive_attr_destroy(attributes);
    return st;
}

/* Our weights [out, height, width, in / groups], as bytes, into the primitive's layout.
 */
static dnnl_status_t pack_weights(const pq_dnnl_shape      *s,
                                  const dnnl_memory_desc_t *packed, int8_t *plain,
                                  pq_dnnl_variant *v)
{
    dnnl_memory_desc_t    from;
    dnnl_memory_t         memory  = NULL;
    dnnl_primitive_desc_t desc    = NULL;
    dnnl_primitive_t      reorder = NULL;
    dnnl_status_t         st;

    for (size_t i = 0; i < s->units->outputs * s->units->length; i++) {
        plain[i] = (int8_t)s->units->weight[i];
    }
    st = dnnl_memory_desc_init_by_tag(&from, s->weight_dims, s->weights, dnnl_s8,
                                      s->weight_dims == 5 ? dnnl_gohwi : dnnl_ohwi);
    st = st ? st : dnnl_memory_create(&memory, &from, machine, plain);
    st = st ? st : dnnl_memory_create(&v->weights, packed, machine, v->packed);
    st = st ? st
            : dnnl_reorder_primitive_desc_create(&desc, &from, machine, packed, machine,
                                                 NULL);
    st = st ? st : dnnl_primitive_create(&reorder, desc);
    if (st == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, memory},
                                        {DNNL_ARG_TO, v->weights}};
        st                           = dnnl_primitive_execute(reorder, stream, 2, args);
        st                           = st ? st : dnnl_stream_wait(stream);
    }
    if (reorder != NULL) {
        (void)dnnl_primitive_destroy(reorder);
    }
    (void)dnnl_primitive_desc_destroy(desc);
    (void)dnnl_memory_destroy(memory);
    return st;
}

static dnnl_status_t make_memories(const_dnnl_primitive_desc_t desc, float *bias,
                                   pq_dnnl_variant *v)
{
    const dnnl_memory_desc_t *x =
        dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *y =
        dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    const dnnl_memory_desc_t *b =
        dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1);
    const dnnl_memory_desc_t *s =
        dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    dnnl_status_t st = dnnl_memory_create(&v->bias, b, machine, bias);

    v->scratch_bytes = dnnl_memory_desc_get_size(s);
    for (size_t i = 0; i < PQ_DNNL_SETS && st == dnnl_success; i++) {
        st = dnnl_memory_create(&v->source[i], x, machine, DNNL_MEMORY_NONE);
        st = st ? st : dnnl_memory_create(&v->target[i], y, machine, DNNL_MEMORY_NONE);
        st = st ? st : dnnl_memory_create(&v->scratch[i], s, machine, DNNL_MEMORY_NONE);
    }
    return st;
}

pq_status pq_dnnl_make(const pq_dnnl_shape *s, size_t n, float *bias, pq_dnnl_variant *v,
                       pq_err *err)
{
    dnnl_primitive_desc_t     desc  = NULL;
    int8_t                   *plain = NULL;
    const char               *name  = "";
    const dnnl_memory_desc_t *w;
    dnnl_status_t             done;
    pq_status                 st = PQ_OK;

    be_single();
    done = describe(s, n, &desc);
    if (done != dnnl_success ||
        dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) !=
            dnnl_success ||
        strstr(name, "ref") != NULL) {
        goto cleanup;
    }
    v->n = n;
    (void)snprintf(v->kernel, sizeof v->kernel, "%.40s%s", name,
                   has_vnni ? PQ_KERNEL_NATIVE : PQ_KERNEL_EMULATED);
    w               = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    v->weight_bytes = dnnl_memory_desc_get_size(w);
    PQ_NEW(plain, s->units->outputs * s->units->length);
    PQ_NEW(v->packed, v->weight_bytes);
    done = pack_weights(s, w, plain, v);
    done = done ? done : make_memories(desc, bias, v);
    done = done ? done : dnnl_primitive_create(&v->primitive, desc);
    PQ_CHECK(done == dnnl_success, PQ_ERR_NOMEM, "oneDNN cannot make a primitive (%d)",
             (int)done);
cleanup:
    pq_free(plain);
    (void)dnnl_primitive_desc_destroy(desc);
    return st;
}
