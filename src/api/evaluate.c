/* Numbers of a model on events. */
#include "api/inside.h"

#include "core/memory.h"
#include "lab/evaluate.h"
#include "metrics/btag.h"

static pq_status evaluate(pquant_model *model, pquant_data *data, const pquant_options *o,
                          pq_evaluated *out, pq_err *err)
{
    pq_api_watch        watch;
    pq_evaluate_options how = {.predict = {.engine = o->engine, .threads = o->threads},
                               .negative_weights = o->negative_weights != 0};
    pq_status           st;

    pq_api_watch_start(&watch, o);
    how.predict.progress = &watch.progress;
    PQ_TRY(pq_api_check(o, err));
    PQ_TRY(pq_evaluate(model->graph, data->dataset, data->split, &how, out, err));
cleanup:
    return st;
}

pquant_metrics *pquant_evaluate_with(pquant_model *model, pquant_data *data,
                                     const pquant_options *options)
{
    const pquant_options o   = pq_api_options(options);
    pq_err              *err = pq_api_begin();
    pq_evaluated         e   = {0};
    pquant_metrics      *m   = NULL;

    if (evaluate(model, data, &o, &e, err) == PQ_OK) {
        m = pq_api_view(&e.values, err);
    }
    pq_evaluated_free(&e);
    return m;
}

pquant_metrics *pquant_evaluate(pquant_model *model, pquant_data *data)
{
    return pquant_evaluate_with(model, data, NULL);
}

pquant_metrics *pquant_evaluate_btag(pquant_model *model, pquant_data *data, double f_c,
                                     const pquant_options *options)
{
    const pquant_options o      = pq_api_options(options);
    pq_err              *err    = pq_api_begin();
    pq_evaluated         e      = {0};
    pq_values            values = {0};
    pquant_metrics      *m      = NULL;
    pq_btag_params       params = {0};
    pq_evaluation        view;
    pq_status            st;

    PQ_TRY(pq_params_default(pq_btag_table, &params, err));
    params.f_c = f_c < 0.0 ? params.f_c : f_c;
    PQ_TRY(evaluate(model, data, &o, &e, err));
    view = pq_evaluated_view(&e, model->graph, 0);
    PQ_TRY(pq_btag_evaluate(&view, &params, &values, err));
    m = pq_api_view(&values, err);
cleanup:
    (void)st;
    pq_params_free(pq_btag_table, &params);
    pq_values_free(&values);
    pq_evaluated_free(&e);
    return m;
}
