/*
 * ONNX Runtime and OpenVINO by their C interfaces, out of the libraries that their Python
 * packages bring. No headers come with these: what is used of them is declared here.
 * Outputs are checked before anything is timed.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static void *must(const void *what, const char *name)
{
    if (what == NULL) {
        fprintf(stderr, "trigger: %s: %s\n", name, dlerror());
        exit(1);
    }
    return (void *)(uintptr_t)what;
}

/*
 * ONNX Runtime's table of functions grows at its end only, so that places in it are part
 * of its binary interface (onnxruntime_c_api.h, struct OrtApi). Each returns NULL, or a
 * status.
 */
enum {
    ERROR_MESSAGE    = 2,
    CREATE_ENV       = 3,
    CREATE_SESSION   = 7,
    CREATE_OPTIONS   = 10,
    SET_THREADS      = 24,
    CREATE_TENSOR    = 49,
    CREATE_CPU_INFO  = 69,
    RUN_WITH_BINDING = 133,
    CREATE_BINDING   = 134,
    BIND_INPUT       = 136,
    BIND_OUTPUT      = 137,
    API_VERSION      = 17,
    FLOAT32          = 1,
    ARENA_ALLOCATOR  = 1,
    WARNINGS         = 2,
    INPUTS           = 16,
    OUTPUTS          = 5
};

typedef struct {
    const void *const *(*get)(uint32_t version);
    const char *(*version)(void);
} ort_base;

typedef struct {
    void *(*run)(void *session, const void *options, const void *binding);
    void  *session, *binding;
    float *x, *y;
} ort;

/* Calls a function of the table by its place, with the arguments and their types. */
#define ORT(place, types, ...)                                                           \
    ort_ok(api, ((void *(*)types)(uintptr_t)api[place])(__VA_ARGS__))

static void ort_ok(const void *const *api, void *status)
{
    if (status != NULL) {
        fprintf(stderr, "trigger: ONNX Runtime: %s\n",
                ((const char *(*)(void *))(uintptr_t)api[ERROR_MESSAGE])(status));
        exit(1);
    }
}

/* A session of a model of one input `x` and one output `y`, both bound to memory of its
 * own. */
EXPORT void *ort_open(const char *library, const char *model, size_t n, int threads)
{
    ort  *h = must(calloc(1, sizeof *h), "memory");
    void *env, *options, *info, *x, *y, *so = must(dlopen(library, RTLD_NOW), library);
    const ort_base *(*base)(void) = (const ort_base *(*)(void))(uintptr_t)must(
        dlsym(so, "OrtGetApiBase"), "OrtGetApiBase");
    const void *const *api =
        must(base()->get(API_VERSION), "ONNX Runtime's interface 17");
    const int64_t in[] = {(int64_t)n, INPUTS}, out[] = {(int64_t)n, OUTPUTS};
    const size_t  in_bytes = n * INPUTS * sizeof(float),
                 out_bytes = n * OUTPUTS * sizeof(float);

    h->x = must(calloc(1, in_bytes), "memory");
    h->y = must(calloc(1, out_bytes), "memory");
    h->run =
        (void *(*)(void *, const void *, const void *))(uintptr_t)api[RUN_WITH_BINDING];
    ORT(CREATE_ENV, (int, const char *, void **), WARNINGS, "trigger", &env);
    ORT(CREATE_OPTIONS, (void **), &options);
    ORT(SET_THREADS, (void *, int), options, threads);
    ORT(CREATE_SESSION, (void *, const char *, void *, void **), env, model, options,
        &h->session);
    ORT(CREATE_CPU_INFO, (int, int, void **), ARENA_ALLOCATOR, 0, &info);
    ORT(CREATE_TENSOR, (void *, void *, size_t, const int64_t *, size_t, int, void **),
        info, h->x, in_bytes, in, 2, FLOAT32, &x);
    ORT(CREATE_TENSOR, (void *, void *, size_t, const int64_t *, size_t, int, void **),
        info, h->y, out_bytes, out, 2, FLOAT32, &y);
    ORT(CREATE_BINDING, (void *, void **), h->session, &h->binding);
    ORT(BIND_INPUT, (void *, const char *, void *), h->binding, "x", x);
    ORT(BIND_OUTPUT, (void *, const char *, void *), h->binding, "y", y);
    return h;
}

EXPORT void ort_run(void *handle, const float *x, size_t n, float *y)
{
    ort *h = handle;

    memcpy(h->x, x, n * INPUTS * sizeof(float));
    (void)h->run(h->session, NULL, h->binding);
    memcpy(y, h->y, n * OUTPUTS * sizeof(float));
}

typedef struct {
    int (*infer)(void *request);
    void  *request;
    float *x, *y;
} vino;

/* Calls a function of OpenVINO's library by its name; all return 0 where they did what
 * they were to do. */
#define OV(name, types, ...)                                                             \
    do {                                                                                 \
        if (((int(*) types)(uintptr_t)must(dlsym(so, #name), #name))(__VA_ARGS__) !=     \
            0) {                                                                         \
            fprintf(stderr, "trigger: OpenVINO: %s failed\n", #name);                    \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* A request of a model of one input and one output whose shapes are fixed. */
EXPORT void *vino_open(const char *library, const char *path, const char *threads)
{
    vino *h = must(calloc(1, sizeof *h), "memory");
    void *core, *model, *compiled, *x, *y, *so = must(dlopen(library, RTLD_NOW), library);

    OV(ov_core_create, (void **), &core);
    OV(ov_core_read_model, (void *, const char *, const char *, void **), core, path,
       NULL, &model);
    OV(ov_core_compile_model, (void *, void *, const char *, size_t, void **, ...), core,
       model, "CPU", 6, &compiled, "INFERENCE_NUM_THREADS", threads, "PERFORMANCE_HINT",
       "LATENCY", "INFERENCE_PRECISION_HINT", "f32");
    OV(ov_compiled_model_create_infer_request, (void *, void **), compiled, &h->request);
    OV(ov_infer_request_get_input_tensor, (void *, void **), h->request, &x);
    OV(ov_infer_request_get_output_tensor, (void *, void **), h->request, &y);
    OV(ov_tensor_data, (void *, void **), x, (void **)&h->x);
    OV(ov_tensor_data, (void *, void **), y, (void **)&h->y);
    h->infer = (int (*)(void *))(uintptr_t)must(dlsym(so, "ov_infer_request_infer"),
                                                "ov_infer_request_infer");
    return h;
}

EXPORT void vino_run(void *handle, const float *x, size_t n, float *y)
{
    vino *h = handle;

    memcpy(h->x, x, n * INPUTS * sizeof(float));
    (void)h->infer(h->request);
    memcpy(y, h->y, n * OUTPUTS * sizeof(float));
}
