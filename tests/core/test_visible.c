#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/memory.h"
#include "core/visible.h"

static void expect_visible(const char *text, bool lines, const char *want)
{
    pq_text once = {0}, twice = {0};

    pq_visible_add(&once, text, lines);
    pq_visible_add(&twice, once.text != NULL ? once.text : "", lines);
    cr_expect_str_eq(once.text, want);
    cr_expect_str_eq(twice.text, want, "not the same the second time");
    pq_text_free(&once);
    pq_text_free(&twice);
}

Test(visible, what_a_terminal_obeys_is_escaped_and_all_else_stays)
{
    expect_visible("Größe 東京 \xf0\x9f\x98\x80 a\\b", false,
                   "Größe 東京 \xf0\x9f\x98\x80 a\\b");
    expect_visible("\x1b]0;title\x07\x1b[2J", false, "\\u001b]0;title\\u0007\\u001b[2J");
    expect_visible("a\nb\tc", true, "a\nb\tc");
    expect_visible("a\nb\tc\r", false, "a\\u000ab\\u0009c\\u000d");
    expect_visible("\xc2\x9b"
                   "31m",
                   true, "\\u009b31m");
    expect_visible("\x9b\xff\xc3(", false, "\\x9b\\xff\\xc3(");
    expect_visible("gpj.\xe2\x80\xaeh5\xe2\x81\xa9", false, "gpj.\\u202eh5\\u2069");
    expect_visible("\xf3\xa0\x80\x81", false, "\\udb40\\udc01"); /* a tag, as in JSON */
}

Test(visible, every_control_is_hidden_and_no_letter_is)
{
    for (uint32_t c = 0; c < 0x20; c++) {
        cr_expect(pq_is_hidden(c));
    }
    for (uint32_t c = 0x20; c < 0x7f; c++) {
        cr_expect_not(pq_is_hidden(c));
    }
    for (uint32_t c = 0x202a; c <= 0x202e; c++) {
        cr_expect(pq_is_hidden(c));
    }
    cr_expect_not(pq_is_hidden(0xe9));
    cr_expect_not(pq_is_hidden(0x3b1));
    cr_expect_not(pq_is_hidden(0x4e00));
}

Test(visible, columns_are_those_of_a_terminal)
{
    static const struct {
        const char *text;
        size_t      columns;
    } cases[] = {{"", 0},
                 {"light", 5},
                 {"Größe", 5},
                 {"e\xcc\x81t\xcc\xa7", 2}, /* accents behind their letters */
                 {"\xd7\x91\xd6\xb8", 1},   /* a Hebrew vowel */
                 {"東京", 4},
                 {"한", 2},
                 {"ｔ", 2},
                 {"\xf0\x9f\x98\x80", 2}, /* a face */
                 {"τ→μ", 3},
                 {"\xff\xc3", 2}}; /* no UTF-8 */

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(pq_text_columns(cases[i].text), cases[i].columns, "%s: %zu",
                     cases[i].text, pq_text_columns(cases[i].text));
    }
}

Test(visible, messages_and_hints_hold_no_hidden_character)
{
    pq_err err = {0};
    char   longer[3000];

    (void)pq_err_set(&err, PQ_ERR_FORMAT, "f", 1, "layer '%s' is bad",
                     "a\x1b[31m\nagain: x");
    pq_err_context(&err, "%s", "file\xe2\x80\xae.h5");
    pq_err_hint(&err, "see %s", "\x9b");
    cr_expect_str_eq(err.message,
                     "file\\u202e.h5: layer 'a\\u001b[31m\\u000aagain: x' is bad");
    cr_expect_str_eq(err.hint, "see \\x9b");
    memset(longer, 0x1b, sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    err                       = (pq_err){0};
    (void)pq_err_set(&err, PQ_ERR_FORMAT, "f", 1, "%s", longer);
    cr_expect_lt(strlen(err.message), sizeof err.message);
    cr_expect_eq(strspn(err.message, "\\u01b"), strlen(err.message));
    pq_memory_fail_after(0);
    err = (pq_err){0};
    (void)pq_err_set(&err, PQ_ERR_NOMEM, "f", 1, "a%sb", "\x1b");
    pq_memory_fail_after(SIZE_MAX);
    cr_expect_str_eq(err.message, "a?b");
}

/* What a shell makes of the quoted word. */
static void expect_word(const char *word)
{
    pq_text command = {0};
    char    got[256];
    size_t  n;
    FILE   *pipe;

    pq_text_add(&command, "printf %%s ");
    pq_shell_add(&command, word);
    cr_assert_eq(setenv("PQ_COMMAND", command.text, 1), 0);
    pipe = popen("bash -c \"$PQ_COMMAND\"", "r"); /* sh may not know $'…' */
    pq_text_free(&command);
    cr_assert_not_null(pipe);
    n      = fread(got, 1, sizeof got - 1, pipe);
    got[n] = '\0';
    (void)pclose(pipe);
    cr_expect_str_eq(got, word);
}

Test(visible, words_come_out_of_a_shell_as_they_went_in)
{
    static const char *const plain[] = {"run", "configs/x.yaml", "-S", "a.b=1e-5", "x,y"};
    static const char *const odd[]   = {"a b",
                                        "it's",
                                        "$(id)",
                                        "`id`",
                                        "\"",
                                        "a;b",
                                        "#x",
                                        "!x",
                                        "~root",
                                        "*",
                                        "a\\b",
                                        "a\nb",
                                        "\x1b[x",
                                        "é",
                                        ("x\xff"
                                         "y"),
                                        "it's\t\\"};

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        pq_text t = {0};
        pq_shell_add(&t, plain[i]);
        cr_expect_str_eq(t.text, plain[i]);
        pq_text_free(&t);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        expect_word(odd[i]);
    }
}

Test(visible, a_cut_text_ends_at_a_whole_character)
{
    static const char *const cases[][2] = {
        {"", ""},       {"plain", "plain"},     {"x\xc3\xa4", "x\xc3\xa4"},
        {"x\xc3", "x"}, {"x\xf0\x9f\x98", "x"}, {"x\xff y", "x"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[16];
        (void)strcpy(text, cases[i][0]);
        pq_utf8_cut(text);
        cr_expect_str_eq(text, cases[i][1]);
    }
}
