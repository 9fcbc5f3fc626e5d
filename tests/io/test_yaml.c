#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/print.h"

static pq_yaml *parse(const char *text)
{
    pq_yaml *root = NULL;
    pq_err   err  = {0};

    cr_assert_eq(pq_yaml_parse(text, strlen(text), "a.yaml", &root, &err), PQ_OK, "%s",
                 err.message);
    return root;
}

static void refused(const char *text, const char *message)
{
    const size_t live = pq_memory_live();
    pq_yaml     *root = NULL;
    pq_err       err  = {0};

    cr_assert_eq(pq_yaml_parse(text, strlen(text), "a.yaml", &root, &err), PQ_ERR_CONFIG,
                 "accepted: %s", text);
    cr_expect_str_eq(err.message, message);
    cr_expect_null(root);
    cr_expect_eq(pq_memory_live(), live);
}

Test(yaml, scalars_are_text_and_never_guessed)
{
    pq_yaml    *root   = parse("a: 1e-5\nb: no\nc: 12:30\nd: 010\ne: 'x'\nf:\ng: ~\n");
    const char *want[] = {"1e-5", "no", "12:30", "010", "x", "", "~"};

    cr_assert_eq(root->n, 7);
    for (size_t i = 0; i < 7; i++) {
        cr_expect_eq(root->items[i]->kind, PQ_YAML_SCALAR);
        cr_expect_str_eq(root->items[i]->text, want[i]);
        cr_expect_eq(root->items[i]->quoted, i == 4);
    }
    pq_yaml_free(&root);
}

Test(yaml, values_and_keys_know_their_places)
{
    pq_yaml *root = parse("top:\n  list: [1, two]\n  map:\n    x: y\n");
    pq_yaml *top  = pq_yaml_find(root, "top");
    pq_yaml *list = pq_yaml_find(top, "list");
    pq_err   err  = {0};

    cr_expect_eq(list->kind, PQ_YAML_LIST);
    cr_expect_eq(list->key_line, 2);
    cr_expect_eq(list->key_column, 3);
    cr_expect_eq(list->items[1]->line, 2);
    cr_expect_eq(list->items[1]->column, 13);
    cr_expect_null(pq_yaml_find(top, "nothing"));
    cr_expect_null(pq_yaml_find(list, "x"));
    cr_expect_eq(
        pq_yaml_fail(list->items[1], &err, PQ_ERR_CONFIG, "rank '%s' is bad", "two"),
        PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "a.yaml:2:13: rank 'two' is bad");
    err = (pq_err){0};
    (void)pq_yaml_fail_key(list, &err, PQ_ERR_CONFIG, "unknown key '%s'", list->key);
    cr_expect_str_eq(err.message, "a.yaml:2:3: unknown key 'list'");
    pq_yaml_free(&root);
}

Test(yaml, refuses_what_is_not_a_plain_tree)
{
    refused("", "a.yaml: is empty");
    refused("# nothing\n", "a.yaml: is empty");
    refused("a: 1\nb: 2\na: 3\n",
            "a.yaml:3:1: the key 'a' is there twice; first in line 1");
    refused("a: &x 1\n", "a.yaml:1:4: anchors (&name) are not read; write the value out");
    refused("a: *x\n", "a.yaml:1:4: aliases (*name) are not read; write the value out");
    refused("a: !!int 1\n", "a.yaml:1:4: tags (!name) are not read");
    refused("[a]: 1\n", "a.yaml:1:1: a key must be a plain text");
    refused("a: \"x\\0y\"\n", "a.yaml:1:4: the text holds a NUL byte");
    refused("a: 1\n---\nb: 2\n",
            "a.yaml:2:1: a second document starts here; one is read");
    refused("a: [1, 2\n",
            "a.yaml:2:1: is not valid YAML: did not find expected ',' or ']'");
    refused("a:\n\t- 1\n", "a.yaml:2:1: is not valid YAML: found character that cannot "
                           "start any token");
}

Test(yaml, depth_and_size_are_bounded)
{
    char    *deep = calloc(1, 200);
    char    *wide = calloc(1, 3 * 30000 + 8);
    pq_err   err  = {0};
    pq_yaml *root = NULL;

    memset(deep, '[', 60);
    cr_expect_eq(pq_yaml_parse(deep, 60, "a.yaml", &root, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "a.yaml:1:34: more than 32 lists and maps within each other");
    for (size_t i = 0; i < 30000; i++) {
        memcpy(wide + 3 * i, "- \n", 3);
    }
    err = (pq_err){0};
    cr_expect_eq(pq_yaml_parse(wide, 90000, "a.yaml", &root, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "a.yaml:20000:2: more than 20000 values");
    err = (pq_err){0};
    cr_expect_eq(pq_yaml_parse(wide, (4 << 20) + 1, "a.yaml", &root, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "a.yaml: has 4194305 bytes; at most 4194304 are read");
    cr_expect_null(root);
    free(deep);
    free(wide);
}

Test(yaml, a_missing_file_is_not_found)
{
    pq_yaml *root = NULL;
    pq_err   err  = {0};

    cr_expect_eq(pq_yaml_read("no/such.yaml", &root, &err), PQ_ERR_NOT_FOUND);
    cr_expect_str_eq(err.message, "no/such.yaml: No such file or directory");
}

Test(yaml, merging_goes_key_by_key_and_replaces_lists)
{
    pq_yaml *base = parse("a: {x: 1, y: 2}\nl: [1, 2]\n");
    pq_yaml *over = parse("a: {y: 3, z: 4}\nl: [9]\nn: new\n");
    pq_text  text = {0};

    cr_assert_eq(pq_yaml_merge(base, over, NULL), PQ_OK);
    print_yaml(base, 0, &text);
    cr_expect_str_eq(text.text, "a:\n  x: 1\n  y: 3\n  z: 4\nl:\n  - 9\nn: new\n");
    pq_text_free(&text);
    pq_yaml_free(&base);
    pq_yaml_free(&over);
}

Test(yaml, printed_text_reads_back_the_same)
{
    const char *source = "a: \"no: #x\"\nb: ['1', \"\\n\", \"\", -x, '- y', \"\\\\\"]\n"
                         "c: {}\nd: []\ne: [[1, 2], {k: v, m: [x]}]\nf:\ng: '  s '\n";
    pq_yaml    *one    = parse(source), *two;
    pq_text     a = {0}, b = {0};

    print_yaml(one, 0, &a);
    two = parse(a.text);
    print_yaml(two, 0, &b);
    cr_expect_str_eq(a.text, b.text);
    cr_expect_str_eq(pq_yaml_find(two, "a")->text, "no: #x");
    cr_expect_str_eq(pq_yaml_find(two, "b")->items[1]->text, "\n");
    cr_expect_str_eq(pq_yaml_find(two, "b")->items[5]->text, "\\");
    cr_expect_str_eq(pq_yaml_find(two, "g")->text, "  s ");
    cr_expect_eq(pq_yaml_find(two, "e")->items[1]->items[1]->kind, PQ_YAML_LIST);
    pq_yaml_free(&one);
    pq_yaml_free(&two);
    pq_text_free(&a);
    pq_text_free(&b);
}

Test(yaml, trees_can_be_changed)
{
    pq_yaml *root = parse("a: 1\nb: 2\nc: 3\n"), *copy = NULL, *value = NULL;
    pq_text  text = {0};

    cr_assert_eq(pq_yaml_clone(root, &copy, NULL), PQ_OK);
    pq_yaml_remove(copy, "b");
    pq_yaml_remove(copy, "none");
    cr_assert_eq(pq_yaml_set_text(pq_yaml_find(copy, "a"), "x", NULL), PQ_OK);
    value = parse("[p]");
    cr_assert_eq(pq_yaml_append(value, parse("q"), NULL), PQ_OK);
    cr_assert_eq(pq_yaml_set(copy, "d", value, NULL), PQ_OK);
    cr_assert_eq(pq_yaml_set(copy, "c", parse("z"), NULL), PQ_OK);
    print_yaml(copy, 0, &text);
    cr_expect_str_eq(text.text, "a: x\nc: z\nd:\n  - p\n  - q\n");
    cr_expect_eq(root->n, 3);
    pq_yaml_free(&root);
    pq_yaml_free(&copy);
    pq_text_free(&text);
}

/* `tree`: its list; a null in `with` leaves the item. */
static void expect_spliced(const char *tree, const char *with, const char *due)
{
    pq_yaml *root = parse(tree), *all = parse(with), *parts[8] = {0};
    pq_text  text = {0};

    for (size_t i = 0; i < all->n; i++) {
        if (all->items[i]->kind == PQ_YAML_LIST) {
            cr_assert_eq(pq_yaml_clone(all->items[i], &parts[i], NULL), PQ_OK);
            cr_assert_eq(pq_yaml_move(parts[i], root->items[i], NULL), PQ_OK);
        }
    }
    cr_assert_eq(pq_yaml_splice(root, parts, NULL), PQ_OK);
    print_yaml(root, 0, &text);
    cr_expect_str_eq(text.text != NULL ? text.text : "", due, "%s with %s", tree, with);
    for (size_t i = 0; i < all->n; i++) {
        cr_expect(parts[i] == NULL || parts[i]->n == 0);
        pq_yaml_free(&parts[i]);
    }
    pq_text_free(&text);
    pq_yaml_free(&root);
    pq_yaml_free(&all);
}

Test(yaml, lists_go_in_place_of_items)
{
    expect_spliced("[a, b]", "[-, -]", "- a\n- b\n");
    expect_spliced("[a, b, c]", "[[x, z], -, [y]]", "- x\n- z\n- b\n- y\n");
    expect_spliced("[a, b]", "[[], -]", "- b\n");
    expect_spliced("[a, b]", "[[], [p, q, r]]", "- p\n- q\n- r\n");
    pq_yaml *root = parse("a: [1]\nb:\n  - {c: [2, 3]}\n");
    cr_assert_eq(pq_yaml_move(root->items[1], root->items[0]->items[0], NULL), PQ_OK);
    cr_expect_eq(root->items[1]->items[0]->items[0]->items[1]->line, 1);
    cr_expect_eq(root->items[1]->items[0]->items[0]->items[1]->column, 5);
    pq_yaml_free(&root);
}

Test(yaml, every_failed_allocation_leaves_nothing_behind)
{
    static const char text[] = "a: [1, 2, {b: c}]\nd: e\n";
    const size_t      live   = pq_memory_live();
    pq_status         st     = PQ_ERR_NOMEM;

    for (size_t i = 0; st != PQ_OK; i++) {
        pq_yaml *root = NULL;
        pq_memory_fail_after(i);
        st = pq_yaml_parse(text, sizeof text - 1, "a.yaml", &root, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        cr_assert_eq(root != NULL, st == PQ_OK);
        pq_yaml_free(&root);
        cr_assert_eq(pq_memory_live(), live);
    }
}

Test(yaml, bytes_that_are_no_text_are_told_at_their_place)
{
    static const struct {
        const char *text, *place;
    } cases[] = {{"a: 1\nb: x\xff\n", "c:2:5: "},
                 {"\xff", "c:1:1: "},
                 {"a: \xc3\xa9\xc3\xa9\n\xe2\x28\xa1: 1\n", "c:2:2: "},
                 {"a: 1\nb: \xc3\xa9 \x01\n", "c:2:6: "}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_yaml *root = NULL;
        pq_err   err  = {0};
        cr_expect_eq(
            pq_yaml_parse(cases[i].text, strlen(cases[i].text), "c", &root, &err),
            PQ_ERR_CONFIG);
        cr_expect_eq(strncmp(err.message, cases[i].place, strlen(cases[i].place)), 0,
                     "case %zu: %s", i, err.message);
    }
}
