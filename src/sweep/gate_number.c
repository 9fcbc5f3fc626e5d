/* Gates of numbers that are not times. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "metrics/tests.h"
#include "store/json.h"
#include "sweep/gate_inside.h"

static double number(const json_t *metric, const char *name)
{
    const json_t *value = json_object_get(metric, name);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Events that one of both alone decides right; false where they are not of the same
 * events. */
static bool discordant(const json_t *before, const json_t *now, size_t *only_before,
                       size_t *only_now)
{
    const char *a = pq_json_get_text(before, "correct"),
               *b = pq_json_get_text(now, "correct");

    *only_before = *only_now = 0;
    if (*a == '\0' || strlen(a) != strlen(b) ||
        strcmp(pq_json_get_text(before, "events"), pq_json_get_text(now, "events")) !=
            0) {
        return false;
    }
    for (; *a != '\0'; a++, b++) {
        const int x = digit(*a), y = digit(*b);
        if (x < 0 || y < 0) {
            return false;
        }
        *only_before += (size_t)__builtin_popcount((unsigned)(x & ~y));
        *only_now += (size_t)__builtin_popcount((unsigned)(y & ~x));
    }
    return true;
}

/* p of a difference by the one-sigma intervals; 0 where neither has one: such numbers are
 * exact. */
static double by_intervals(const json_t *a, const json_t *b, double worse)
{
    const double s    = 0.5 * (number(a, "hi") - number(a, "lo"));
    const double t    = 0.5 * (number(b, "hi") - number(b, "lo"));
    const double both = sqrt((isnan(s) ? 0.0 : s * s) + (isnan(t) ? 0.0 : t * t));

    return both > 0.0 ? pq_test_normal(worse / both) : worse != 0.0 ? 0.0 : 1.0;
}

pq_gate_case pq_gate_number(const json_t *before, const json_t *now, const pq_gate *gate,
                            pq_finding *out)
{
    const json_t *a = json_object_get(json_object_get(before, "metrics"), out->metric);
    const json_t *b = json_object_get(json_object_get(now, "metrics"), out->metric);
    const bool    higher = strcmp(pq_json_get_text(a, "better"), "higher") == 0;
    const double  tiny   = 1e-12; /* relative: sums of other orders are no change */
    size_t        lost, won;
    double        grown;
    pq_gate_case  found = {0};

    out->before = number(a, "value");
    out->now    = number(b, "value");
    grown       = out->now - out->before;
    out->worse  = higher ? -grown : grown;
    if (isnan(out->before)) {
        return found;
    }
    if (isnan(out->now)) {
        (void)snprintf(out->why, sizeof out->why, "has no value any more");
        found.over = true;
        return found;
    }
    found.over =
        !isnan(gate->max_loss) && out->worse > gate->max_loss + tiny * fabs(out->before);
    if (!isnan(gate->max_increase)) {
        found.over =
            found.over || grown > (gate->max_increase + tiny) * fabs(out->before);
        out->worse = out->before != 0.0 ? grown / fabs(out->before) : grown;
    }
    if (gate->test == PQ_GATE_PAIRED && strcmp(out->metric, "accuracy") == 0 &&
        discordant(before, now, &lost, &won)) {
        out->p = pq_test_discordant(lost, won);
        (void)snprintf(out->why, sizeof out->why, "%zu events lost, %zu won", lost, won);
    } else if (gate->test == PQ_GATE_PAIRED) {
        out->p = by_intervals(a, b, grown);
    }
    return found;
}
