// sae: sparse autoencoders. Contracts: mod.rs and its modules. Geometry: launch/. One entry for each element type.
#include "backward.cuh"
#include "flat.cuh"
#include "gate.cuh"
#include "track.cuh"

#define PROBLEM(T)                                                                                                     \
  const T *x, const T *w, const f32 *bias, const u32 *subset, const u32 *count, u32 rows, u32 dim, u32 n, u32 listed,  \
      u64 x_stride, u64 w_stride, u32 parts, u32 part
#define PROBLEM_OF(T) Problem<T>{x, w, bias, subset, count, rows, dim, n, listed, x_stride, w_stride, parts, part}

#define BATCH(T)                                                                                                       \
  const f32 *values, const f32 *b_dec, const T *x, const T *g, const T *w, const u32 *items, const u32 *rows,          \
      const u32 *starts, f32 *dvalues, u32 dim, u32 n, u64 x_stride, u64 g_stride, u64 w_stride, u32 given
#define BATCH_OF(T)                                                                                                    \
  Batch<T>{values, b_dec, x, g, w, items, rows, starts, dvalues, dim, n, x_stride, g_stride, w_stride, given}

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(sae_encode_##T, 256, PROBLEM(T), u64* lists, u64* found, u64* bars, u32* counts, u32 k, u32 room,       \
               f32 floor) {                                                                                            \
    encode(PROBLEM_OF(T), lists, found, bars, counts, k, room, floor);                                                 \
  }                                                                                                                    \
  LATENS_ENTRY(sae_flat_repair_##T, 256, PROBLEM(T), Flat* flat, u32* above, u32* equal, u32* take, u32* placed,       \
               const u32* offsets, u64* sorted, u64* equals, u32 total, u32 step) {                                    \
    flat_repair(PROBLEM_OF(T), flat, Rows{above, equal, take, placed, offsets, sorted, equals}, total, step);          \
  }                                                                                                                    \
  LATENS_ENTRY(sae_decode_##T, 256, const f32* values, const u32* latents, const u32* offsets, u32 width, u32 slots,   \
               const T* w, const f32* b_dec, const T* x, T* recon, T* residual, f32* errors, u32 rows, u32 dim, u32 n, \
               u64 w_stride, u64 x_stride, u32 slabs) {                                                                \
    decode(values, latents, Slots{offsets, width, slots}, w, b_dec, x, recon, residual, errors, rows, dim, n,          \
           w_stride, x_stride, slabs);                                                                                 \
  }                                                                                                                    \
  LATENS_ENTRY(sae_bias_##T, 256, const T* w, const f32* b_enc, const f32* b_dec, f32* out, u32 n, u32 dim,            \
               u64 stride) {                                                                                           \
    bias(w, b_enc, b_dec, out, n, dim, stride);                                                                        \
  }                                                                                                                    \
  LATENS_ENTRY(sae_bias_parts_##T, 256, const T* g, const T* w, const f32* db_enc, f32* parts, u32 rows, u32 n,        \
               u32 dim, u64 g_stride, u64 w_stride, u32 part) {                                                        \
    bias_parts(g, w, db_enc, parts, rows, n, dim, g_stride, w_stride, part);                                           \
  }                                                                                                                    \
  LATENS_ENTRY(sae_slopes_##T, 256, const f32*, const u32* latents, const u32* offsets, u32 width, u32 slots,          \
               const T* g, const T* w, f32* to, u32 rows, u32 dim, u32 n, u64 g_stride, u64 w_stride) {                \
    slopes(latents, Slots{offsets, width, slots}, g, w, to, rows, dim, n, g_stride, w_stride);                         \
  }                                                                                                                    \
  LATENS_ENTRY(sae_backward_hot_##T, 256, BATCH(T), const u32* keys, f32* parts, u32 slots) {                          \
    backward_hot(BATCH_OF(T), keys, parts, slots);                                                                     \
  }                                                                                                                    \
  LATENS_ENTRY(sae_backward_##T, 256, BATCH(T), f32* parts, f32* dw_dec, f32* dw_enc, f32* db_enc, u32 add) {          \
    backward(BATCH_OF(T), parts, dw_dec, dw_enc, db_enc, add);                                                         \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)

LATENS_ENTRY(sae_finish_f32, 128, const u64* found, const u32* counts, u64* sorted, f32* values, u32* latents,
             u32* totals, u32 candidates, u32 parts, u32 k, u32 n, u32 listed) {
  finish(found, counts, sorted, values, latents, totals, candidates, parts, k, n, listed);
}
LATENS_ENTRY(sae_decode_error_f32, 256, const f32* errors, f32* error, u32 rows, u32 slabs) {
  decode_error(errors, error, rows, slabs);
}
LATENS_ENTRY(sae_bias_sum_f32, 256, const f32* parts, f32* db_dec, u32 dim, u32 count, u32 add) {
  bias_sum(parts, db_dec, dim, count, add);
}
LATENS_ENTRY(sae_track_age_f32, 256, u32* since, u32 n, u32 tokens) { track_age(since, n, tokens); }
LATENS_ENTRY(sae_track_fire_f32, 256, const f32* values, const u32* latents, const u32* offsets, u32 width, u32 slots,
             u32* since, u32 rows, u32 n, f32 fired) {
  track_fire(values, latents, Slots{offsets, width, slots}, since, rows, n, fired);
}
LATENS_ENTRY(sae_dead_f32, 1024, const u32* since, u32* list, u32* count, u32 n, u32 limit, u32 part) {
  dead(since, list, count, n, limit, part);
}
LATENS_ENTRY(sae_order_keys_f32, 256, const f32*, const u32* latents, const u32* offsets, u32 width, u32 slots, u32* keys,
             u32* items, u32* rows, f32* dvalues, u32 count, u32 n) {
  order_keys(latents, Slots{offsets, width, slots}, keys, items, rows, dvalues, count, n);
}
LATENS_ENTRY(sae_order_count_f32, 256, const u32* keys, u32* counts, u32 slots, u32 shift) {
  sort_count(keys, counts, slots, shift);
}
LATENS_ENTRY(sae_order_scan_f32, 1024, u32* counts, u32 count) { sort_scan(counts, count); }
LATENS_ENTRY(sae_order_move_f32, 256, const u32* keys, const u32* items, const u32* counts, u32* to_keys, u32* to_items,
             u32 slots, u32 shift) {
  sort_move(keys, items, counts, to_keys, to_items, slots, shift);
}
LATENS_ENTRY(sae_order_starts_f32, 256, const u32* keys, u32* starts, u32 slots, u32 n) {
  order_starts(keys, starts, slots, n);
}
LATENS_ENTRY(sae_gate_f32, 256, const f32* values, const u32* latents, const f32* scale, const f32* shift, f32* y,
             u32 slots, u32 n, f32 floor) {
  gate(Gate{scale, shift, nullptr, floor}, values, latents, y, slots, n);
}
LATENS_ENTRY(sae_gate_backward_f32, 256, const f32* values, const u32* items, const u32* starts, const f32* scale,
             const f32* shift, const f32* weight, f32 floor, f32 by, u32 tanh, f32 of, f32 step, f32* slopes, f32* sums,
             u32 n) {
  gate_backward(Gate{scale, shift, weight, floor}, Push{by, of, step, tanh != 0}, values, items, starts, slopes, sums, n);
}
LATENS_ENTRY(sae_flat_clear_f32, 256, Flat* flat, u32 again) { flat_clear(flat, again); }
LATENS_ENTRY(sae_flat_count_f32, 256, const u64* found, Flat* flat, u64 count, u64 total, u32 pass) {
  flat_count(found, flat, count, total, pass);
}
LATENS_ENTRY(sae_flat_cut_f32, 256, Flat* flat, const u64* bars, u64 count, u64 total, u32 again) {
  flat_cut(flat, bars, count, total, again);
}
LATENS_ENTRY(sae_flat_rows_f32, 128, const u64* found, const Flat* flat, u32* above, u32* equal, u32 candidates) {
  flat_rows(found, flat, above, equal, candidates);
}
LATENS_ENTRY(sae_flat_offsets_f32, 1024, const Flat* flat, const u32* above, const u32* equal, u32* take, u32* placed,
             u32* offsets, u32 rows) {
  flat_offsets(flat, above, equal, take, placed, offsets, rows);
}
LATENS_ENTRY(sae_flat_finish_f32, 128, const u64* found, const Flat* flat, u32* above, u32* equal, u32* take,
             const u32* offsets, u64* sorted, u64* equals, f32* values, u32* latents, u32 candidates, u32 total, u32 n,
             u32 listed) {
  flat_finish(found, flat, Rows{above, equal, take, nullptr, offsets, sorted, equals}, values, latents, candidates,
              total, n, listed);
}
