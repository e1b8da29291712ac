// sae: sparse autoencoders. Contracts: mod.rs and its modules. Geometry: launch/. One entry for each element type.
#include "encode.cuh"
#include "track.cuh"

#define PROBLEM(T)                                                                                                     \
  const T *x, const T *w, const f32 *bias, const u32 *subset, const u32 *count, u32 rows, u32 dim, u32 n, u32 listed,  \
      u64 x_stride, u64 w_stride, u32 parts, u32 part
#define PROBLEM_OF(T) Problem<T>{x, w, bias, subset, count, rows, dim, n, listed, x_stride, w_stride, parts, part}

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(sae_encode_##T, 256, PROBLEM(T), u64* lists, u64* found, u64* bars, u32* counts, u32 k, u32 room,       \
               f32 floor) {                                                                                            \
    encode(PROBLEM_OF(T), lists, found, bars, counts, k, room, floor);                                                 \
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
