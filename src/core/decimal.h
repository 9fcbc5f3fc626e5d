/**
 * @file
 * Decimal numbers in texts, fast and exact.
 */
#ifndef PQ_CORE_DECIMAL_H
#define PQ_CORE_DECIMAL_H

#include <stdbool.h>

/**
 * Reads the decimal number at the start of a text to the double that strtod in the C
 * locale gives, the nearest one, ties to even. Whatever the locale, and in whole-number
 * arithmetic: w 10^e with w < 2^64 is exact in 128 bits for |e| <= 27, by one product, or
 * one division by 5^|e| whose remainder tells on which side of a tie it lies.
 *
 * @param[in]  text  sign, digits with or without a point, exponent; no blanks before
 * @param[out] end   behind the number, as strtod says; untouched on failure
 * @return  false where it is no such number (inf, nan, hexadecimal), or one of more than
 *          19 digits or a far exponent: strtod knows. 0x10 reads as 0 and ends at x.
 *
 * Source: the fast path for small w is Clinger's, PLDI 1990, doi:10.1145/93542.93557.
 */
bool pq_decimal(const char *text, const char **end, double *out);

#endif
