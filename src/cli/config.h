/**
 * @file
 * Configurations named on the command line, with the changes of -S and -P.
 */
#ifndef PQ_CLI_CONFIG_H
#define PQ_CLI_CONFIG_H

#include "cli/verb.h"
#include "sweep/config.h"
#include "sweep/train_config.h"

#define PQ_SET_OPTION                                                                    \
    {                                                                                    \
        "set", 'S', "KEY.PATH=VALUE", true, NULL, "change a value of the configuration"  \
    }
#define PQ_AXIS_OPTION                                                                   \
    {                                                                                    \
        "axis", 'P', "AXIS=V1,V2", true, NULL, "replace the values of a swept axis"      \
    }

/** Reads the configuration of a sweep; all its problems go to stderr. */
pq_status pq_args_config(const pq_args *args, pq_config **out, pq_err *err);

/** The same where it is another than the first argument. */
pq_status pq_args_config_at(const pq_args *args, size_t i, pq_config **out, pq_err *err);

/** Reads the configuration of a training; all its problems go to stderr. */
pq_status pq_args_train_config(const pq_args *args, pq_train_config **out, pq_err *err);

/**
 * What a training would refuse, from headers alone; in cli/train.c.
 * @param[out] missing  why inputs could not be looked at, since they are not there (PQ_OK
 *                      then); code PQ_OK where they could
 */
pq_status pq_train_config_check(pq_train_config *config, pq_err *missing, pq_err *err);

#endif
