#include "metrics/fraction.h"

#include <math.h>
#include <stddef.h>

#include "metrics/metric.h"

void pq_fraction_add(pq_fraction *f, double weight, bool passes)
{
    const double square = weight * weight;

    if (!(fabs(weight) > 0.0)) {
        return;
    }
    f->events += 1.0;
    f->negative += weight < 0.0 ? 1.0 : 0.0;
    f->weight += weight;
    f->squares += square;
    f->fourths += square * square;
    f->pass += passes ? weight : 0.0;
    f->pass_squares += passes ? square : 0.0;
}

double pq_fraction_value(const pq_fraction *f)
{
    return f->weight > 0.0 ? f->pass / f->weight : (double)NAN;
}

double pq_fraction_effective(const pq_fraction *f)
{
    return f->squares > 0.0 ? f->weight * f->weight / f->squares : 0.0;
}

static bool has_equal_weights(const pq_fraction *f)
{
    return pq_fraction_effective(f) > f->events * (1.0 - 1e-9);
}

/* V (sum w)^2. */
static double spread(const pq_fraction *f)
{
    const double value        = pq_fraction_value(f);
    const double fail_squares = f->squares - f->pass_squares;

    return f->pass_squares * (1.0 - value) * (1.0 - value) + fail_squares * value * value;
}

/* sum w^2 of equal weights has no error of its own: 1 / freedom -> 0 */
static double student(const pq_fraction *f)
{
    const double heavy = f->fourths / (f->squares * f->squares) - 1.0 / f->events;

    return heavy > 1e-12 ? pq_student_sigma(1.0 / heavy - 1.0) : 1.0;
}

/* Unweighted events that are worth as much: f (1 - f) / (V t^2). */
static double worth(const pq_fraction *f)
{
    const double value     = pq_fraction_value(f);
    const double effective = pq_fraction_effective(f);
    const double variance  = spread(f);

    if (has_equal_weights(f) || !(value > 0.0 && value < 1.0) || !(variance > 0.0)) {
        return effective;
    }
    const double t = student(f);

    return value * (1.0 - value) * f->weight * f->weight / (variance * t * t);
}

/* Whether weights of both signs pass or fail: such a rate may be anything. */
static bool is_signed(const pq_fraction *f)
{
    return f->negative > 0.0 && f->weight > 0.0 && f->pass_squares > 0.0 &&
           f->pass_squares < f->squares;
}

static pq_interval linear(const pq_fraction *f)
{
    const double value = pq_fraction_value(f);
    const double error = sqrt(spread(f)) * student(f) / f->weight;

    return (pq_interval){value - error, value + error};
}

pq_interval pq_fraction_wilson(const pq_fraction *f)
{
    const double n = worth(f);

    return is_signed(f) ? linear(f)
                        : pq_interval_wilson(pq_fraction_value(f) * n, n, 1.0);
}

pq_interval pq_fraction_clopper_pearson(const pq_fraction *f)
{
    const double n = worth(f);

    return is_signed(f)
               ? linear(f)
               : pq_interval_clopper_pearson(pq_fraction_value(f) * n, n, PQ_ONE_SIGMA);
}

/* Effective events of the smaller side of a cut. */
static double fewer(const pq_fraction *f)
{
    const double fail = f->weight - f->pass, fail_squares = f->squares - f->pass_squares;

    return fmin(f->pass * f->pass / f->pass_squares, fail * fail / fail_squares);
}

const char *pq_fraction_note(const pq_fraction *f)
{
    const double value = pq_fraction_value(f);

    if (is_signed(f) && !(value >= 0.0 && value <= 1.0)) {
        return "negative weights put it outside of 0..1";
    }
    return (!has_equal_weights(f) && f->events > 0.0 &&
            pq_fraction_effective(f) < PQ_FEW_EFFECTIVE) ||
                   (is_signed(f) && fewer(f) < PQ_FEW_EFFECTIVE)
               ? pq_note_few
               : NULL;
}
