// sae: sparse autoencoders. Contracts: mod.rs and its modules. Geometry: launch/. One entry for each element type.
#include "encode.cuh"

#define PROBLEM(T)                                                                                                     \
  const T *x, const T *w, const f32 *bias, const u32 *subset, const u32 *count, u32 rows, u32 dim, u32 n, u32 listed,  \
      u64 x_stride, u64 w_stride, u32 parts, u32 part
#define PROBLEM_OF(T) Problem<T>{x, w, bias, subset, count, rows, dim, n, listed, x_stride, w_stride, parts, part}

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(sae_encode_##T, 256, PROBLEM(T), u64* lists, u64* found, u64* bars, u32* counts, u32 k, u32 room,       \
               f32 floor) {                                                                                            \
    encode(PROBLEM_OF(T), lists, found, bars, counts, k, room, floor);                                                 \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)

LATENS_ENTRY(sae_finish_f32, 128, const u64* found, const u32* counts, u64* sorted, f32* values, u32* latents,
             u32* totals, u32 candidates, u32 parts, u32 k, u32 n, u32 listed) {
  finish(found, counts, sorted, values, latents, totals, candidates, parts, k, n, listed);
}
