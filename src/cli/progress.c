#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/verb.h"
#include "core/clock.h"

enum { BAR = 24 };

/* The bar on stderr. Only the cli draws, from one thread at a time. */
static struct {
    char   what[32];
    double start_s, last_s;
    size_t first;     /* done when the piece of work began */
    size_t last_done; /* of the last line without a terminal */
    bool   open;      /* the cursor stands behind a bar */
} bar;

/* "3/26 cells, 5.7/s, 4.2 s left  note" */
static void print(const char *what, size_t done, size_t total, double rate, double left_s,
                  const char *note)
{
    char time[32];

    pq_say(stderr, "%zu/%zu %s, %.3g/s", done, total, what, rate);
    if (done < total) {
        pq_say(stderr, ", %s left", pq_seconds_text(left_s, time, sizeof time));
    }
    pq_say(stderr, "%s%s", note != NULL ? "  " : "", note != NULL ? note : "");
}

static void draw(const char *what, size_t done, size_t total, double rate, double left_s,
                 const char *note)
{
    char         cells[BAR + 1];
    const size_t full = total > 0 ? BAR * done / total : 0;

    memset(cells, '.', BAR);
    memset(cells, '#', full);
    cells[BAR] = '\0';
    pq_say(stderr, "\r\033[K[%s] ", cells);
    print(what, done, total, rate, left_s, note);
    bar.open = true;
    if (done >= total) {
        pq_progress_done();
    }
}

static void line(const char *what, size_t done, size_t total, double rate, double left_s,
                 const char *note)
{
    if (done == bar.last_done || (done < total && done < bar.last_done + total / 10)) {
        return;
    }
    bar.last_done = done;
    print(what, done, total, rate, left_s, note);
    pq_say(stderr, "\n");
}

static void report(void *context, const char *what, size_t done, size_t total,
                   const char *note)
{
    const double now = pq_clock_wall_s();
    double       rate, left;

    (void)context;
    if (strncmp(bar.what, what, sizeof bar.what - 1) != 0 || done < bar.first) {
        pq_progress_done();
        (void)snprintf(bar.what, sizeof bar.what, "%s", what);
        bar.start_s = bar.last_s = now;
        bar.first = bar.last_done = done;
        return;
    }
    if (now - bar.last_s < 0.1 && (done < total || now - bar.start_s < 0.5)) {
        return;
    }
    bar.last_s = now;
    rate = now > bar.start_s ? (double)(done - bar.first) / (now - bar.start_s) : 0.0;
    left = rate > 0.0 ? (double)(total - done) / rate : 0.0;
    if (isatty(STDERR_FILENO)) {
        draw(what, done, total, rate, left, note);
    } else {
        line(what, done, total, rate, left, note);
    }
}

void pq_progress_done(void)
{
    if (bar.open) {
        pq_say(stderr, "\n");
        bar.open = false;
    }
    bar.what[0] = '\0';
}

pq_progress pq_args_progress(const pq_args *args)
{
    return pq_args_flag(args, "quiet") ? (pq_progress){0}
                                       : (pq_progress){.report = report};
}
