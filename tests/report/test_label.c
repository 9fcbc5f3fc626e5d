#include <criterion/criterion.h>
#include <string.h>

#include "core/memory.h"
#include "report/label.h"

enum { NAMES = 64, LONGEST = 30 };

static void expect_distinct(const char *const *names, size_t n)
{
    char **labels = NULL;

    cr_assert_eq(pq_labels_make(names, n, LONGEST, &labels, NULL), PQ_OK);
    for (size_t i = 0; i < n; i++) {
        cr_expect(pq_label_width(labels[i]) <= LONGEST, "%s", labels[i]);
        for (size_t k = 0; k < i; k++) {
            cr_expect_eq(strcmp(labels[i], labels[k]) == 0,
                         strcmp(names[i], names[k]) == 0, "%s and %s: %s", names[i],
                         names[k], labels[i]);
        }
    }
    pq_labels_free(&labels, n);
}

Test(label, of_long_names_that_differ_anywhere_differ)
{
    static char names[NAMES][120];
    const char *list[NAMES];

    for (size_t where = 0; where < 80; where++) {
        for (size_t i = 0; i < NAMES; i++) {
            memset(names[i], 'x', 80);
            names[i][80]    = '\0';
            names[i][where] = (char)('0' + (int)i);
            list[i]         = names[i];
        }
        expect_distinct(list, NAMES);
    }
}

Test(label, of_names_that_look_alike_differ)
{
    static const char *const names[] = {
        "a\nb", "a b", "a\tb", "\xe6\x97\xa5", "\xe6\x9c\xac", "\xe2\x80\x8b",       "",
        " ",    "  ",  "\x01", "svd rank=4",   "svd rank=4",   "\xf0\x9f\x8e\x89 #1"};

    expect_distinct(names, sizeof names / sizeof *names);
}

Test(label, shows_what_the_font_lacks_as_squares)
{
    static const struct {
        const char *name, *label;
    } cases[] = {
        {"b", "b"},
        {"\xe6\x97\xa5x", "\xe2\x96\xa1x"},
        {"\xe2\x80\x8b", "\\u200b"},
        {"", "(blank)"},
        {" \n", "(blank)"},
        {"\xce\xb1 \xd0\xb6 \xc3\xa9", "\xce\xb1 \xd0\xb6 \xc3\xa9"},
        {"compression_of_the_jet_tagger_at_8_bits", "compression_of\xe2\x80\xa6"
                                                    "agger_at_8_bits"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_text text = {0};
        pq_label_cut(&text, cases[i].name, LONGEST);
        cr_expect_str_eq(text.text, cases[i].label);
        pq_text_free(&text);
    }
}
