// hyper: incidences of hypergraphs, pooling and walks over them, search. Contracts: mod.rs and its modules. Geometry:
// launch/. Not yet run on a device.
#include "copy.cuh"
#include "pool.cuh"
#include "rank.cuh"
#include "search.cuh"

#define ROWS const u32 *offsets, const u32 *members, const u32 *places, u32 count, u32 columns, u32 entries
#define ROWS_OF Rows{offsets, members, places, count, columns, entries}
#define PAIRS const u32 *row, const u32 *column, u32 count, u32 columns, u32 pairs
#define PAIRS_OF Pairs{row, column, count, columns, pairs}
#define TERMS const f32 *values, const f32 *of_columns, const f32 *of_rows, u32 how
#define TERMS_OF Terms{values, of_columns, of_rows, how}
#define TEXTS(T, C) const T *queries, const C *corpus, u32 count, u32 n, u32 dim, u64 of_queries, u64 of_corpus
#define TEXTS_OF(T, C) Texts<T, C>{queries, corpus, count, n, dim, of_queries, of_corpus}

#define ENTRIES(T)                                                                                                   \
  LATENS_ENTRY(hyper_pool_##T, 256, ROWS, const f32* a, const T* x, T* y, u32 dim, u64 stride) {                     \
    pool(ROWS_OF, a, x, y, dim, stride);                                                                             \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_largest_##T, 256, ROWS, const f32* a, const T* x, T* y, u32* chosen, u32 dim, u64 stride) {     \
    largest(ROWS_OF, a, x, y, chosen, dim, stride);                                                                  \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_largest_backward_##T, 256, ROWS, const f32* a, const T* dy, const u32* chosen, T* dx, u32 dim,  \
               u64 stride) {                                                                                         \
    largest_backward(ROWS_OF, a, dy, chosen, dx, dim, stride);                                                       \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_dots_##T, 256, ROWS, const T* dy, const T* x, f32* da, u32 dim, u64 dy_stride, u64 x_stride) {  \
    dots(ROWS_OF, dy, x, da, dim, dy_stride, x_stride);                                                              \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_scores_##T, 256, TEXTS(T, T), f32* out) {                                                       \
    scores(TEXTS_OF(T, T), out, [](u32, u32, f32 sum) { return sum; });                                              \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_near_##T, 256, TEXTS(T, bf16), const f32* bounds, const f32* numbers, f32* out) {               \
    near(TEXTS_OF(T, bf16), bounds, numbers, out);                                                                   \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_round_##T, 256, const T* x, bf16* codes, f32* bounds, u32 n, u32 dim, u64 stride) {             \
    compress(x, codes, bounds, n, dim, stride);                                                                      \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_compress_##T, 256, const T* x, i8* codes, f32* bounds, u32 n, u32 dim, u64 stride) {            \
    compress(x, codes, bounds, n, dim, stride);                                                                      \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_query_##T, 256, const T* x, i8* high, i8* low, f32* numbers, u32 count, u32 dim, u64 stride) {  \
    query(x, high, low, numbers, count, dim, stride);                                                                \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_rescore_##T, 256, TEXTS(T, T), const u32* ids, u64* list, u32 candidates) {                     \
    rescore(TEXTS_OF(T, T), ids, list, candidates);                                                                  \
  }                                                                                                                  \
  LATENS_ENTRY(hyper_best_##T, 256, TEXTS(T, T), const f32* bounds, u64* list, f32* values, u32* ids, u32* complete, \
               u32 k, u32 candidates) {                                                                              \
    best(TEXTS_OF(T, T), bounds, list, values, ids, complete, k, candidates);                                        \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)

LATENS_ENTRY(hyper_pairs_by_column_f32, 256, PAIRS, u32* keys, u32* items) { pairs_by_column(PAIRS_OF, keys, items); }
LATENS_ENTRY(hyper_pairs_by_row_f32, 256, PAIRS, u32* keys, const u32* items) { pairs_by_row(PAIRS_OF, keys, items); }
LATENS_ENTRY(hyper_pairs_count_f32, 256, PAIRS, const u32* keys, const u32* items, u32* counts) {
  pairs_count(PAIRS_OF, keys, items, counts);
}
LATENS_ENTRY(hyper_pairs_merge_f32, 256, PAIRS, const u32* keys, const u32* items, const u32* counts, const f32* weights,
             u32* members, u32* row_of, f32* merged) {
  pairs_merge(PAIRS_OF, keys, items, counts, weights, members, row_of, merged);
}
LATENS_ENTRY(hyper_sort_count_f32, 256, const u32* keys, u32* counts, u32 count, u32 shift) {
  sort_count(keys, counts, count, shift);
}
LATENS_ENTRY(hyper_sort_scan_f32, 1024, u32* counts, u32 count) { sort_scan(counts, count); }
LATENS_ENTRY(hyper_sort_move_f32, 256, const u32* keys, const u32* items, const u32* counts, u32* to_keys, u32* to_items,
             u32 count, u32 shift) {
  sort_move(keys, items, counts, to_keys, to_items, count, shift);
}
LATENS_ENTRY(hyper_starts_f32, 256, const u32* keys, u32* offsets, u32 count, u32 rows) { starts(keys, offsets, count, rows); }
LATENS_ENTRY(hyper_entries_by_column_f32, 256, ROWS, u32* keys, u32* items) { entries_by_column(ROWS_OF, keys, items); }
LATENS_ENTRY(hyper_entries_turned_f32, 256, ROWS, const u32* keys, const u32* items, u32* to_members, u32* to_places) {
  entries_turned(ROWS_OF, keys, items, to_members, to_places);
}
LATENS_ENTRY(hyper_clear_f32, 256, f32* to, u32 count) { clear(to, count); }
LATENS_ENTRY(hyper_degree_f32, 256, ROWS, TERMS, f32* out) { degree(ROWS_OF, TERMS_OF, out); }
LATENS_ENTRY(hyper_weigh_f32, 256, ROWS, TERMS, f32* a) { weigh(ROWS_OF, TERMS_OF, a); }
LATENS_ENTRY(hyper_weigh_backward_f32, 256, ROWS, TERMS, const f32* da, f32* dvalues) {
  weigh_backward(ROWS_OF, TERMS_OF, da, dvalues);
}
LATENS_ENTRY(hyper_rank_edges_f32, 256, ROWS, const f32* weights, const f32* shares, f32* of_edges) {
  rank_edges(ROWS_OF, weights, shares, of_edges);
}
LATENS_ENTRY(hyper_rank_vertices_f32, 256, ROWS, const f32* weights, const f32* of_edges, f32* inverse) {
  rank_vertices(ROWS_OF, weights, of_edges, inverse);
}
LATENS_ENTRY(hyper_rank_begin_f32, 256, const f32* seeds, f32* now, u32* done, u32 vertices, u32 columns, u64 stride) {
  rank_begin(seeds, now, done, vertices, columns, stride);
}
LATENS_ENTRY(hyper_rank_held_f32, 256, ROWS, const f32* of_edges, const f32* inverse, const u32* done, const f32* now,
             f32* held, u32 seeds) {
  rank_held(ROWS_OF, of_edges, inverse, done, now, held, seeds);
}
LATENS_ENTRY(hyper_rank_next_f32, 256, ROWS, const f32* shares, const f32* held, const u32* done, const f32* lost,
             const f32* seeds, const f32* now, f32* next, u32 walks, u64 stride, f32 damping) {
  rank_next(ROWS_OF, shares, held, done, lost, seeds, now, next, walks, stride, damping);
}
LATENS_ENTRY(hyper_rank_parts_f32, 256, const f32* before, const f32* now, const f32* inverse, f32* parts, u32 vertices,
             u32 columns, u32 count) {
  rank_parts(before, now, inverse, parts, vertices, columns, count);
}
LATENS_ENTRY(hyper_rank_close_f32, 256, const f32* parts, f32* change, f32* lost, u32* done, u32 columns, u32 count,
             f32 tolerance, u32 first) {
  rank_close(parts, change, lost, done, columns, count, tolerance, first);
}
LATENS_ENTRY(hyper_select_f32, 256, ROWS, const f32* scores, f32* to, u32* found, u32 k, u32 room) {
  select_members(ROWS_OF, scores, to, found, k, room);
}
LATENS_ENTRY(hyper_bounds_f32, 256, const i8* codes, const f32* bounds, const i8* high, const i8* low, const f32* numbers,
             f32* out, u32 n, u32 dim) {
  bounds_of(codes, bounds, high, low, numbers, out, n, dim);
}
