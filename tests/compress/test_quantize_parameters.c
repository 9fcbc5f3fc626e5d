#include "quantized.h"

Test(quantize_parameters, parameters_that_do_not_fit_are_refused)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"quantize:bits=1", "quantize: bits = 1 is not in 2..16"},
        {"quantize:bits=17", "quantize: bits = 17 is not in 2..16"},
        {"quantize:granularity=per_weight",
         "quantize: granularity = per_weight is for format = fixed, not int"},
        {"quantize:format=fixed,granularity=per_group",
         "quantize: granularity = per_group is for format = int or nf4, not fixed"},
        {"quantize:format=fixed,fold=false",
         "quantize: fold = false is for format = int, symmetric, granularity = "
         "per_channel, choice = nearest and no bias_correction: only such grids can be "
         "folded later"},
        {"quantize:average_bits=9", "quantize: average_bits = 9 is above bits = 8"},
        {"quantize:integer_bits=2", "quantize: integer_bits = 2 has no effect here: it "
                                    "is for format = fixed (format "
                                    "is int)"},
        {"quantize:format=float16,activation_bits=6",
         "quantize: activation_bits = 6 has no effect here: it is for format = int or "
         "fixed with activations (format is float16)"},
        {"quantize:format=float16,calibration=mse",
         "quantize: calibration = mse has no effect here: it is for format = int or "
         "fixed "
         "with activations (format is float16)"},
        {"quantize:overflow=WRAP", "quantize: overflow = WRAP has no effect here: it is "
                                   "for format = fixed (format is int)"},
        {"quantize:rounding=TRN",
         "quantize: rounding = TRN has no effect here: it is for "
         "format = fixed (format is int)"},
        {"quantize:group=3", "quantize: group = 3 has no effect here: it is for "
                             "granularity = per_group (format is int)"},
        {"quantize:format=nf4,double_scales=yes",
         "quantize: double_scales = true has no effect here: it is for format = nf4 and "
         "granularity = per_group (format is nf4)"},
        {"quantize:format=nf4,bits=6", "quantize: bits = 6 has no effect here: it is for "
                                       "format = int or fixed (format is nf4)"},
        {"quantize:format=nf4,choice=adaptive",
         "quantize: choice = adaptive has no effect here: it is for format = int or "
         "fixed "
         "(format is nf4)"},
        {"quantize:format=nf4,choice=adaround",
         "quantize: choice = adaround has no effect here: it is for format = int or "
         "fixed "
         "(format is nf4)"},
        {"quantize:choice=adaptive,rounding_steps=10",
         "quantize: rounding_steps = 10 has no effect here: it is for choice = adaround "
         "(format is int)"},
        {"quantize:choice=adaround,rounding_steps=0",
         "quantize: rounding_steps = 0 is not in 1..10000000"},
        {"quantize:choice=adaround,fold=false",
         "quantize: fold = false is for format = int, symmetric, granularity = "
         "per_channel, choice = nearest and no bias_correction: only such grids can be "
         "folded later"},
        {"quantize:format=bfloat16,granularity=per_tensor",
         "quantize: granularity = per_tensor has no effect here: it is for format = int, "
         "fixed or nf4 (format is bfloat16)"},
        {"quantize:format=fixed,range=full", "quantize: range = full has no effect here: "
                                             "it is for format = int and symmetric "
                                             "(format is fixed)"},
        {"quantize:symmetric=no,range=full", "quantize: range = full has no effect here: "
                                             "it is for format = int and symmetric "
                                             "(format is int)"},
        {"quantize:format=fixed,weight_range=mse",
         "quantize: weight_range = mse has no effect here: it is for format = int "
         "(format "
         "is fixed)"},
        {"quantize:activations=no,calibration=mse",
         "quantize: calibration = mse has no effect here: it is for format = int or "
         "fixed "
         "with activations (format is int)"},
        {"quantize:percentile=99",
         "quantize: percentile = 99 has no effect here: it is for calibration = "
         "percentile, with activations (format is int)"},
        {"quantize:activation_rounding=TRN", "quantize: activation_rounding = TRN has no "
                                             "effect here: it is for format = fixed "
                                             "with activations (format is int)"},
        {"quantize:format=fixed,activation_symmetric=yes",
         "quantize: activation_symmetric = true has no effect here: it is for format = "
         "int with activations (format is fixed)"},
        {"quantize:format=fixed,bits=4,activation_integer_bits=5",
         "quantize: activation_integer_bits = 5 of 4 bits leave -2 fraction bits, not in "
         "0..24"},
        {"quantize:format=fixed,bits=4,integer_bits=5",
         "quantize: integer_bits = 5 of 4 bits leave -2 fraction bits, not in 0..24"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        net_stage_refused(bad[i].text, bad[i].message);
    }
}
