#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "store/pack.h"
#include "store/record.h"
#include "store/shelf.h"

enum { RECORDS = 5 };

/* Longer than a shelf waits before it trusts the times of a file. */
static const unsigned SETTLE_S = 3;

static void enter_folder(void)
{
    char folder[] = "/tmp/pq-shelf-XXXXXX";

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static const char *key_of(int i)
{
    static char key[65];

    (void)snprintf(key, sizeof key, "%064x", i + 1);
    return key;
}

static void write_record(int i, const char *status, double accuracy)
{
    json_t *record = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:s, s:{s:{s:f, s:n}}, s:{s:s}, s:[{s:s}], s:{}}",
        "schema", PQ_RECORD_SCHEMA, "key", key_of(i), "phase", "eval", "label",
        "svd rank=8", "order", i, "status", status, "metrics", "accuracy", "value",
        accuracy, "lo", "provenance", "compiler", "gcc", "layers", "layer", "fc1",
        "quantization");

    cr_assert_eq(pq_record_write("r", record, NULL), PQ_OK);
    json_decref(record);
}

static double accuracy_of(const json_t *record)
{
    return json_number_value(json_object_get(
        json_object_get(json_object_get(record, "metrics"), "accuracy"), "value"));
}

/* What a shelf gives for all records is what their files hold; returns how many were
 * parsed. */
static size_t check_all(bool save)
{
    pq_shelf *shelf = NULL;
    size_t    parsed;

    cr_assert_eq(pq_shelf_open("r", &shelf, NULL), PQ_OK);
    for (int i = 0; i < RECORDS; i++) {
        json_t         *is = NULL, *due = NULL;
        const pq_status st = pq_record_read("r", key_of(i), &due, NULL);
        cr_assert_eq(pq_shelf_read(shelf, key_of(i), &is, NULL), st, "record %d", i);
        cr_expect_eq(pq_shelf_done(shelf, key_of(i)), pq_record_done("r", key_of(i)));
        if (st == PQ_OK) {
            (void)json_object_del(due, "layers");
            (void)json_object_del(due, "quantization");
            cr_expect(json_equal(is, due), "record %d", i);
        }
        json_decref(due);
    }
    parsed = pq_shelf_parsed(shelf);
    if (save) {
        cr_assert_eq(pq_shelf_save(shelf, NULL), PQ_OK);
    }
    pq_shelf_close(&shelf);
    return parsed;
}

static void write_records(void)
{
    for (int i = 0; i < RECORDS; i++) {
        write_record(i, i == 2 ? "failed" : "ok", 1.0 / (i + 3));
    }
}

Test(shelf, reads_a_record_once_and_never_again_while_it_is_as_it_was)
{
    enter_folder();
    write_records();
    sleep(SETTLE_S);
    cr_expect_eq(check_all(true), RECORDS);
    cr_expect_eq(check_all(true), 0, "the index tells all");
    write_record(1, "ok", 0.75);
    cr_expect_eq(check_all(true), 1, "the new one, which may still change");
    sleep(SETTLE_S);
    cr_expect_eq(check_all(true), 1);
    cr_expect_eq(check_all(true), 0);
    cr_assert_eq(unlink("r/records.index"), 0);
    cr_expect_eq(check_all(true), RECORDS, "nothing is lost with it");
}

Test(shelf, what_was_just_written_is_not_trusted_to_stay)
{
    enter_folder();
    write_records();
    (void)check_all(true);
    cr_expect_neq(check_all(false), 0);
}

/* Who writes a record and holds the lock need not read it again; a file of another size
 * is of somebody else. */
Test(shelf, what_is_put_there_is_not_parsed_while_its_file_is_as_it_was)
{
    char       *path;
    json_t     *record = NULL, *got;
    pq_shelf   *shelf  = NULL;
    const char *key;

    enter_folder();
    write_records();
    key  = key_of(1);
    path = pq_format("r/cells/%s.json", key);
    cr_assert_eq(pq_record_read("r", key, &record, NULL), PQ_OK);
    pq_shelf_trim(record);
    cr_assert_eq(pq_shelf_open("r", &shelf, NULL), PQ_OK);
    cr_assert_eq(pq_shelf_put(shelf, key, record, pq_file_bytes(path) + 1, NULL), PQ_OK);
    cr_assert_eq(pq_shelf_read(shelf, key, &got, NULL), PQ_OK);
    cr_expect_eq(pq_shelf_parsed(shelf), 1, "of another size");
    cr_assert_eq(pq_shelf_put(shelf, key, record, pq_file_bytes(path), NULL), PQ_OK);
    cr_assert_eq(pq_shelf_read(shelf, key, &got, NULL), PQ_OK);
    cr_expect_eq(got, record);
    cr_expect_eq(pq_shelf_parsed(shelf), 1);
    write_record(1, "ok", 0.75);
    cr_assert_eq(pq_shelf_read(shelf, key, &got, NULL), PQ_OK);
    cr_expect_eq(pq_shelf_parsed(shelf), 2, "written by another since");
    json_decref(record);
    pq_shelf_close(&shelf);
    pq_free(path);
}

/* Changes a digit in place, and gives the file its old times and size. */
static void edit(int i)
{
    char       *path = pq_format("r/cells/%s.json", key_of(i)), *bytes = NULL, *at;
    size_t      n = 0;
    struct stat was;
    int         fd;

    cr_assert_eq(stat(path, &was), 0);
    cr_assert_eq(pq_file_read(path, 1 << 20, &bytes, &n, NULL), PQ_OK);
    at = strstr(bytes, "\"value\": 0.");
    cr_assert_not_null(at);
    at[strlen("\"value\": 0.")] = '9';
    fd                          = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, bytes, n, 0), (ssize_t)n);
    cr_assert_eq(futimens(fd, (struct timespec[]){was.st_atim, was.st_mtim}), 0);
    (void)close(fd);
    pq_free(bytes);
    pq_free(path);
}

Test(shelf, a_record_changed_by_hand_is_noticed_whatever_its_times_say)
{
    pq_shelf *shelf  = NULL;
    json_t   *record = NULL;

    enter_folder();
    write_records();
    sleep(SETTLE_S);
    (void)check_all(true);
    edit(3);
    cr_expect_neq(check_all(true), 0);
    cr_assert_eq(pq_shelf_open("r", &shelf, NULL), PQ_OK);
    cr_assert_eq(pq_shelf_read(shelf, key_of(3), &record, NULL), PQ_OK);
    cr_expect_gt(accuracy_of(record), 0.9);
    pq_shelf_close(&shelf);
    cr_assert_eq(
        unlink("r/cells/0000000000000000000000000000000000000000000000000000000000"
               "000001.json"),
        0);
    (void)check_all(true); /* gone, and not done */
}

Test(shelf, an_index_that_is_damaged_or_cut_off_counts_as_none)
{
    char  *bytes = NULL;
    size_t n     = 0;

    enter_folder();
    write_records();
    sleep(SETTLE_S);
    (void)check_all(true);
    cr_assert_eq(pq_file_read("r/records.index", 1 << 20, &bytes, &n, NULL), PQ_OK);
    for (size_t i = 0; i < n; i += i < 256 ? 1 : 7) {
        bytes[i] ^= 0x11;
        cr_assert_eq(pq_file_write("r/records.index", bytes, n, NULL), PQ_OK);
        bytes[i] ^= 0x11;
        cr_expect_eq(check_all(false), RECORDS, "byte %zu", i);
    }
    for (size_t cut = 1; cut <= n; cut += 1 + n / 40) {
        cr_assert_eq(pq_file_write("r/records.index", bytes, n - cut, NULL), PQ_OK);
        cr_expect_eq(check_all(false), RECORDS, "cut by %zu", cut);
    }
    pq_free(bytes);
}

Test(shelf, a_writer_that_died_leaves_the_old_index)
{
    enter_folder();
    write_records();
    sleep(SETTLE_S);
    (void)check_all(true);
    cr_assert_eq(pq_file_write("r/records.index.tmp.elsewhere.1", "half", 4, NULL),
                 PQ_OK);
    cr_expect_eq(check_all(true), 0);
}

Test(shelf, a_folder_that_cannot_be_written_costs_time_alone)
{
    enter_folder();
    write_records();
    cr_assert_eq(mkdir("r/records.index", 0755), 0);
    cr_assert_eq(mkdir("r/records.index/in-the-way", 0755), 0);
    sleep(SETTLE_S);
    cr_expect_eq(check_all(true), RECORDS);
    cr_expect_eq(check_all(true), RECORDS);
}

Test(shelf, records_of_other_plans_stay_in_the_index)
{
    pq_shelf *shelf = NULL;

    enter_folder();
    write_records();
    sleep(SETTLE_S);
    (void)check_all(true);
    write_record(RECORDS, "ok", 0.5);
    sleep(SETTLE_S);
    cr_assert_eq(pq_shelf_open("r", &shelf, NULL), PQ_OK);
    cr_expect(pq_shelf_done(shelf, key_of(RECORDS)));
    cr_assert_eq(pq_shelf_save(shelf, NULL), PQ_OK);
    pq_shelf_close(&shelf);
    cr_expect_eq(check_all(false), 0);
}

Test(shelf, running_out_of_memory_leaves_nothing)
{
    const size_t before = pq_memory_live();
    size_t       fine   = 0;

    enter_folder();
    write_records();
    sleep(SETTLE_S);
    (void)check_all(true);
    for (size_t n = 0; fine < 3; n++) {
        pq_shelf *shelf = NULL;
        json_t   *record;
        pq_status st;
        pq_memory_fail_after(n);
        st = pq_shelf_open("r", &shelf, NULL);
        for (int i = 0; i < RECORDS && st == PQ_OK; i++) {
            st = pq_shelf_read(shelf, key_of(i), &record, NULL);
        }
        pq_memory_fail_after(SIZE_MAX);
        fine += st == PQ_OK;
        pq_shelf_close(&shelf);
        cr_assert_eq(pq_memory_live(), before, "after failing allocation %zu", n);
    }
}

/* A value of any kind, with members of a few names and values that repeat. */
static json_t *any_value(pq_rng *rng, int depth)
{
    static const char *const names[] = {"value", "lo", "", "\xc3\xa9", "a.b"};
    const uint64_t           kind    = pq_rng_bits(rng) % (depth > 4 ? 6 : 8);
    const size_t             n       = pq_rng_bits(rng) % 5;
    json_t                  *all;

    switch (kind) {
    case 0:
        return json_null();
    case 1:
        return pq_rng_bits(rng) % 2 == 0 ? json_true() : json_false();
    case 2:
        return json_integer((json_int_t)pq_rng_bits(rng));
    case 3:
        return json_real((double)(int64_t)pq_rng_bits(rng) / 7.0);
    case 4:
        return json_real(-0.0);
    case 5:
        return json_string(names[n]);
    case 6:
        all = json_array();
        for (size_t i = 0; i < n; i++) {
            (void)json_array_append_new(all, any_value(rng, depth + 1));
        }
        return all;
    default:
        all = json_object();
        for (size_t i = 0; i < n; i++) {
            (void)json_object_set_new(all, names[i], any_value(rng, depth + 1));
        }
        return all;
    }
}

static json_t *any_list(pq_rng *rng)
{
    json_t *all = json_array();

    (void)json_array_append_new(all, any_value(rng, 0));
    return all;
}

Test(pack, any_values_come_back_bit_for_bit_and_what_is_alike_is_stored_once)
{
    enum { VALUES = 500 };
    pq_rng      rng    = pq_rng_stream(11, "pack");
    pq_packer   packer = {0};
    pq_unpacker packed = {0};
    json_t     *values[VALUES];
    uint32_t    nodes[VALUES], again;

    for (size_t i = 0; i < VALUES; i++) {
        values[i] = any_list(&rng);
        cr_assert_eq(pq_pack(&packer, values[i], &nodes[i], NULL), PQ_OK);
        cr_assert_eq(pq_pack(&packer, values[i], &again, NULL), PQ_OK);
        cr_expect_eq(again, nodes[i]);
    }
    cr_assert_eq(
        pq_unpack_open(packer.nodes.text, packer.nodes.length, packer.n, &packed, NULL),
        PQ_OK);
    for (size_t i = 0; i < VALUES; i++) {
        const json_t *back = pq_unpack(&packed, nodes[i]);
        char         *due = json_dumps(values[i], JSON_COMPACT), *is = NULL;
        cr_assert_not_null(back);
        is = json_dumps(back, JSON_COMPACT); /* order of names too */
        cr_expect_str_eq(is, due);
        free(is);
        free(due);
        json_decref(values[i]);
    }
    pq_unpack_close(&packed);
    pq_packer_free(&packer);
}

/* The bytes come with a hash in an index, but whoever wrote them could make one. */
Test(pack, bytes_of_anybody_never_lead_astray)
{
    pq_rng    rng    = pq_rng_stream(12, "pack");
    pq_packer packer = {0};
    uint32_t  node;
    size_t    opened = 0;

    for (size_t i = 0; i < 40; i++) {
        json_t *value = any_list(&rng);
        cr_assert_eq(pq_pack(&packer, value, &node, NULL), PQ_OK);
        json_decref(value);
    }
    for (size_t turn = 0; turn < 20000; turn++) {
        const size_t place       = pq_rng_bits(&rng) % packer.nodes.length;
        const char   was         = packer.nodes.text[place];
        pq_unpacker  packed      = {0};
        packer.nodes.text[place] = (char)pq_rng_bits(&rng);
        if (pq_unpack_open(packer.nodes.text, packer.nodes.length, packer.n, &packed,
                           NULL) == PQ_OK) {
            opened++;
            for (uint32_t i = 0; i < packer.n; i++) {
                (void)pq_unpack(&packed, i);
            }
        }
        pq_unpack_close(&packed);
        packer.nodes.text[place] = was;
    }
    cr_expect_gt(opened, 1000);
    pq_packer_free(&packer);
}

Test(pack, nodes_that_name_themselves_are_refused)
{
    /* a list of one list: itself */
    const char  bytes[] = "\x0a\0\0\0a\1\0\0\0a\0\0\0";
    pq_unpacker packed  = {0};

    cr_assert_eq(pq_unpack_open(bytes, 14, 1, &packed, NULL), PQ_OK);
    cr_expect_null(pq_unpack(&packed, 0));
    cr_expect_null(pq_unpack(&packed, 1));
    pq_unpack_close(&packed);
    cr_expect_eq(pq_unpack_open(bytes, 14, SIZE_MAX / 2, &packed, NULL), PQ_ERR_FORMAT);
}
