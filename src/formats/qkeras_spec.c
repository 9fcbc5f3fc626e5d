/* What a quantizer of QKeras is: from its name with arguments, or from an object. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "formats/qkeras.h"

enum { MAX_BITS = 16, MAX_ARGUMENTS = 16, MAX_UNROLLS = 1000 };

/* Classes, their arguments in the order of their constructors, and which of these change
 * nothing in a trained net, or would and are not read. */
static const struct {
    const char     *name;
    pq_qkeras_class kind;
    const char     *arguments;
    pq_keras_keys   keys;
} classes[] = {
    {"quantized_bits",
     PQ_QKERAS_BITS,
     "bits integer symmetric keep_negative alpha use_stochastic_rounding scale_axis "
     "qnoise_factor var_name use_ste use_variables",
     {"bits integer symmetric keep_negative alpha qnoise_factor",
      "use_stochastic_rounding var_name use_ste use_variables", "scale_axis"}},
    {"binary",
     PQ_QKERAS_BINARY,
     "use_01 alpha use_stochastic_rounding",
     {"use_01 alpha", NULL, "use_stochastic_rounding"}},
    {"ternary",
     PQ_QKERAS_TERNARY,
     "alpha threshold use_stochastic_rounding number_of_unrolls",
     {"alpha threshold number_of_unrolls", "use_stochastic_rounding", NULL}},
    {"quantized_po2",
     PQ_QKERAS_PO2,
     "bits max_value use_stochastic_rounding quadratic_approximation log2_rounding "
     "qnoise_factor var_name use_ste use_variables",
     {"bits max_value quadratic_approximation log2_rounding qnoise_factor",
      "use_stochastic_rounding var_name use_ste use_variables", NULL}},
    {"quantized_relu_po2",
     PQ_QKERAS_RELU_PO2,
     "bits max_value negative_slope use_stochastic_rounding quadratic_approximation "
     "log2_rounding qnoise_factor var_name use_ste use_variables",
     {"bits max_value negative_slope quadratic_approximation log2_rounding qnoise_factor",
      "use_stochastic_rounding var_name use_ste use_variables", NULL}},
    {"quantized_relu",
     PQ_QKERAS_RELU,
     "bits integer use_sigmoid negative_slope use_stochastic_rounding relu_upper_bound "
     "is_quantized_clip qnoise_factor var_name use_ste use_variables",
     {"bits integer use_sigmoid negative_slope relu_upper_bound is_quantized_clip "
      "qnoise_factor",
      "use_stochastic_rounding var_name use_ste use_variables", NULL}},
    {"quantized_tanh",
     PQ_QKERAS_TANH,
     "bits use_stochastic_rounding symmetric use_real_tanh",
     {"bits symmetric use_real_tanh", "use_stochastic_rounding", NULL}},
    {"quantized_sigmoid",
     PQ_QKERAS_SIGMOID,
     "bits symmetric use_real_sigmoid use_stochastic_rounding",
     {"bits symmetric use_real_sigmoid", "use_stochastic_rounding", NULL}},
};

enum { N_CLASSES = sizeof classes / sizeof *classes };

static size_t class_of(const char *name, size_t length)
{
    size_t i = 0;

    while (i < N_CLASSES && (strlen(classes[i].name) != length ||
                             strncmp(classes[i].name, name, length) != 0)) {
        i++;
    }
    return i;
}

bool pq_qkeras_is_quantizer(const json_t *value)
{
    const char *text   = json_string_value(value);
    const char *module = pq_keras_text(value, "module", "");
    const char *class  = pq_keras_text(value, "class_name", "");

    return text != NULL
               ? strchr(text, '(') != NULL || class_of(text, strlen(text)) < N_CLASSES
               : strncmp(module, "qkeras", 6) == 0 ||
                     class_of(class, strlen(class)) < N_CLASSES;
}

/* --- NAME(argument, …, key=argument, …) --- */

/* Number, True, False, None, or a text in quotes; NULL for anything else. */
static json_t *argument_value(const char *text, size_t n)
{
    char   copy[64];
    double number;

    if (n >= 2 && (text[0] == '\'' || text[0] == '"') && text[n - 1] == text[0]) {
        return json_stringn(text + 1, n - 2);
    }
    if (n == 0 || n >= sizeof copy) {
        return NULL;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (strcmp(copy, "True") == 0 || strcmp(copy, "False") == 0) {
        return json_boolean(copy[0] == 'T');
    }
    if (strcmp(copy, "None") == 0) {
        return json_null();
    }
    return pq_parse_real(copy, PQ_UNIT_NONE, &number) && isfinite(number)
               ? json_real(number)
               : NULL;
}

/* The k-th name of a list between blanks. */
static const char *listed(const char *list, size_t k, size_t *length)
{
    for (; k > 0 && *list != '\0'; k--) {
        list += strcspn(list, " ");
        list += strspn(list, " ");
    }
    *length = strcspn(list, " ");
    return list;
}

static void trim(const char **text, size_t *n)
{
    while (*n > 0 && isspace((unsigned char)(*text)[0])) {
        (*text)++;
        (*n)--;
    }
    while (*n > 0 && isspace((unsigned char)(*text)[*n - 1])) {
        (*n)--;
    }
}

/* One argument, the k-th, into the object. */
static pq_status add_argument(size_t class, size_t k, const char *text, size_t n,
                              json_t *config, pq_err *err)
{
    const char *equals = memchr(text, '=', n);
    const char *key = text, *given = text;
    size_t      length = n;
    char       *name   = NULL;
    json_t     *value;
    pq_status   st;

    if (equals != NULL) {
        length = (size_t)(equals - text);
        given  = equals + 1;
        n -= length + 1;
        trim(&key, &length);
    } else {
        key = listed(classes[class].arguments, k, &length);
        PQ_CHECK(length > 0, PQ_ERR_FORMAT, "%s has too many arguments",
                 classes[class].name);
    }
    trim(&given, &n);
    name  = pq_format("%.*s", (int)length, key);
    value = argument_value(given, n);
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_CHECK(value != NULL, PQ_ERR_FORMAT,
             "argument %zu of %s is '%.*s': no number, True, False, None or text in "
             "quotes",
             k + 1, classes[class].name, (int)(n > 60 ? 60 : n), given);
    if (json_object_get(config, name) != NULL) {
        json_decref(value);
        PQ_FAIL(PQ_ERR_FORMAT, "%s has '%s' twice", classes[class].name, name);
    }
    PQ_CHECK(json_object_set_new(config, name, value) == 0, PQ_ERR_NOMEM,
             "cannot allocate an argument");
cleanup:
    pq_free(name);
    return st;
}

/* The object that a text means; owned. */
static pq_status parse(size_t class, const char *text, json_t **out, pq_err *err)
{
    const char *at     = strchr(text, '(');
    json_t     *config = json_object();
    size_t      k      = 0;
    pq_status   st;

    PQ_CHECK(config != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    while (at != NULL && *at != ')') {
        const char *argument = at + 1;
        size_t      n        = strcspn(argument, ",)");
        PQ_CHECK(argument[n] != '\0', PQ_ERR_FORMAT, "'%.80s' has no closing bracket",
                 text);
        at = argument + n;
        trim(&argument, &n);
        if (n == 0 && k == 0 && *at == ')') {
            break;
        }
        PQ_CHECK(k < MAX_ARGUMENTS, PQ_ERR_FORMAT, "%s has too many arguments",
                 classes[class].name);
        PQ_TRY(add_argument(class, k++, argument, n, config, err));
    }
    PQ_CHECK(at == NULL || at[1] == '\0', PQ_ERR_FORMAT,
             "'%.80s' goes on behind its closing bracket", text);
    *out   = config;
    config = NULL;
cleanup:
    json_decref(config);
    return st;
}

/* --- values --- */

/* True or false, also as 1 or 0. */
static pq_status flag(const json_t *config, const char *key, bool fallback, bool *out,
                      pq_err *err)
{
    const json_t *value = json_object_get(config, key);
    pq_status     st    = PQ_OK;

    if (json_is_number(value)) {
        const double number = json_number_value(value);
        PQ_CHECK(number == 0.0 || number == 1.0, PQ_ERR_FORMAT, "'%s' is %g, not 0 or 1",
                 key, number);
        *out = number == 1.0;
        return PQ_OK;
    }
    PQ_TRY(pq_keras_bool(config, key, fallback, out, err));
cleanup:
    return st;
}

static pq_status whole(const json_t *config, const char *key, int fallback, int least,
                       int most, int *out, pq_err *err)
{
    double    value;
    pq_status st;

    PQ_TRY(pq_keras_real(config, key, fallback, &value, err));
    PQ_CHECK(value == rint(value) && value >= least && value <= most, PQ_ERR_RANGE,
             "%s = %g is not a whole number in %d..%d", key, value, least, most);
    *out = (int)value;
cleanup:
    return st;
}

static pq_status read_alpha(const json_t *config, pq_qkeras_quantizer *q, pq_err *err)
{
    const json_t *value = json_object_get(config, "alpha");
    const char   *text  = json_string_value(value);
    pq_status     st;

    q->factor = 1.0;
    if (value == NULL || json_is_null(value)) {
        q->alpha = PQ_QKERAS_ALPHA_NONE;
        return PQ_OK;
    }
    if (text != NULL) {
        const bool po2 = strcmp(text, "auto_po2") == 0;
        PQ_CHECK(po2 || strcmp(text, "auto") == 0, PQ_ERR_UNSUPPORTED,
                 "alpha = '%s' is not known; null, a number, 'auto' and 'auto_po2' are "
                 "read",
                 text);
        q->alpha = po2 ? PQ_QKERAS_ALPHA_AUTO_PO2 : PQ_QKERAS_ALPHA_AUTO;
        return PQ_OK;
    }
    PQ_CHECK(json_is_number(value), PQ_ERR_UNSUPPORTED,
             "alpha is a list or an object; null, a number, 'auto' and 'auto_po2' are "
             "read");
    q->alpha  = PQ_QKERAS_ALPHA_NUMBER;
    q->factor = (double)(float)json_number_value(value);
    PQ_CHECK(q->factor > 0.0 && isfinite(q->factor), PQ_ERR_RANGE,
             "alpha = %g is not a positive number", json_number_value(value));
cleanup:
    return st;
}

static pq_status read_log2(const json_t *config, pq_qkeras_quantizer *q, pq_err *err)
{
    const char *mode;
    pq_status   st;

    PQ_TRY(flag(config, "quadratic_approximation", false, &q->even, err));
    PQ_TRY(pq_keras_word(config, "log2_rounding", "rnd", &mode, err));
    PQ_CHECK(strcmp(mode, "rnd") == 0 || strcmp(mode, "floor") == 0, PQ_ERR_UNSUPPORTED,
             "log2_rounding = '%s' is not known; rnd and floor are read", mode);
    q->down = strcmp(mode, "floor") == 0;
    PQ_TRY(pq_keras_limit(config, "max_value", &q->most, err));
    PQ_CHECK(q->most >= 0.0, PQ_ERR_RANGE, "max_value = %g is negative", q->most);
cleanup:
    return st;
}

static pq_status read_relu(const json_t *config, pq_qkeras_quantizer *q, pq_err *err)
{
    bool      sigmoid;
    pq_status st;

    PQ_TRY(flag(config, "use_sigmoid", false, &sigmoid, err));
    PQ_CHECK(!sigmoid, PQ_ERR_UNSUPPORTED, "use_sigmoid of quantized_relu is not read");
    PQ_TRY(flag(config, "is_quantized_clip", true, &q->limited, err));
    PQ_TRY(pq_keras_limit(config, "relu_upper_bound", &q->most, err));
    q->most = q->limited ? HUGE_VAL : q->most;
    PQ_CHECK(q->most > 0.0, PQ_ERR_RANGE, "relu_upper_bound = %g is not positive",
             q->most);
cleanup:
    return st;
}

static pq_status read_ternary(const json_t *config, pq_qkeras_quantizer *q, pq_err *err)
{
    const json_t *given = json_object_get(config, "threshold");
    const bool    has   = given != NULL && !json_is_null(given);
    pq_status     st;

    PQ_TRY(pq_keras_real(config, "threshold", 0.33, &q->threshold, err));
    PQ_CHECK(!has || q->alpha < PQ_QKERAS_ALPHA_AUTO, PQ_ERR_UNSUPPORTED,
             "ternary has a threshold, and alpha from the weights: QKeras has no such");
    PQ_TRY(whole(config, "number_of_unrolls", 5, 1, MAX_UNROLLS, &q->unrolls, err));
cleanup:
    return st;
}

static pq_status read_config(const json_t *config, pq_qkeras_quantizer *q, pq_err *err)
{
    double    noise;
    pq_status st;

    PQ_TRY(pq_keras_real(config, "qnoise_factor", 1.0, &noise, err));
    PQ_CHECK(noise == 1.0, PQ_ERR_UNSUPPORTED,
             "qnoise_factor is %g: the net is quantized in part; only 1 is read", noise);
    PQ_TRY(whole(config, "bits", 8, 1, MAX_BITS, &q->bits, err));
    PQ_TRY(whole(config, "integer", 0, -24, 23, &q->integer, err));
    PQ_TRY(flag(config, "symmetric", false, &q->symmetric, err));
    PQ_TRY(flag(config, "keep_negative", true, &q->keep_negative, err));
    PQ_TRY(flag(config, "use_01", false, &q->zero_one, err));
    PQ_TRY(read_alpha(config, q, err));
    PQ_TRY(pq_keras_real(config, "negative_slope", 0.0, &q->slope, err));
    PQ_CHECK(q->slope >= 0.0 && (q->slope == 0.0 || q->kind == PQ_QKERAS_RELU),
             PQ_ERR_UNSUPPORTED, "negative_slope = %g is not read", q->slope);
    PQ_TRY(flag(config, q->kind == PQ_QKERAS_TANH ? "use_real_tanh" : "use_real_sigmoid",
                false, &q->real, err));
    PQ_TRY(read_log2(config, q, err));
    PQ_TRY(q->kind == PQ_QKERAS_RELU ? read_relu(config, q, err) : PQ_OK);
    PQ_TRY(q->kind == PQ_QKERAS_TERNARY ? read_ternary(config, q, err) : PQ_OK);
cleanup:
    return st;
}

static pq_status unknown(const char *name, const char *key, pq_err *err)
{
    pq_text   known = {0};
    pq_status st;

    for (size_t i = 0; i < N_CLASSES; i++) {
        pq_text_add(&known, "%s%s", i == 0 ? "" : ", ", classes[i].name);
    }
    st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "'%s' of '%s' is no quantizer that is read; those of QKeras are: %s",
                    name, key, known.text != NULL ? known.text : "");
    pq_text_free(&known);
    return st;
}

pq_status pq_qkeras_read(const json_t *value, const char *key, pq_qkeras_quantizer *out,
                         pq_err *err)
{
    static const pq_keras_keys object = {"class_name config", PQ_KERAS_ORIGIN, NULL};
    const char                *text   = json_string_value(value);
    const char *name     = text != NULL ? text : pq_keras_text(value, "class_name", "");
    const size_t class   = class_of(name, strcspn(name, "("));
    const json_t *config = json_object_get(value, "config");
    json_t       *parsed = NULL;
    pq_status     st;

    *out = (pq_qkeras_quantizer){0};
    if (class == N_CLASSES) {
        return unknown(name, key, err);
    }
    if (text != NULL) {
        PQ_TRY(parse(class, text, &parsed, err));
        config = parsed;
    } else {
        PQ_TRY(pq_keras_check_keys(value, key, &object, 1, err));
    }
    PQ_TRY(
        pq_keras_check_keys(config, classes[class].name, &classes[class].keys, 1, err));
    out->kind = classes[class].kind;
    out->name = classes[class].name;
    st        = read_config(config, out, err);
    if (st != PQ_OK) {
        pq_err_context(err, "'%s', %s", key, out->name);
    }
cleanup:
    json_decref(parsed);
    return st;
}
