// What forward and backward share: what is read, which keys a query sees, rows into shared memory.
#pragma once
#include "reduce.cuh"

// Twins of the numbers in launch.rs.
constexpr u32 THREADS = 128, WARPS = 4, ROWS = 16, KEYS = 32, OWN = ROWS / WARPS;

struct Strides { u64 batch, token, head; };
// `block`: positions of a block, to the end of which queries see; 0 if they see everything.
struct Shape { u32 t, s, group, kv_heads, dim, block, tiles; };

// Keys that query i sees, from the first on.
__device__ inline u32 visible(const Shape& p, u32 i) {
  if (!p.block) return p.s;
  u64 end = u64(p.s) + i + 1;
  if (end <= p.t) return 0;
  return u32(min(u64(p.s), ((end - p.t - 1) / p.block + 1) * p.block));
}

// The first query that sees a key.
__device__ inline u32 first_query(const Shape& p, u32 key) {
  if (!p.block) return 0;
  u64 from = u64(key / p.block) * p.block + p.t;
  return from <= p.s ? 0 : u32(from - p.s);
}

// Rows of `dim` numbers as f32, a warp each: row r from source(r), nothing where that is null. The last row is `count`.
template <class Source> __device__ inline void stage(f32* to, u32 pitch, u32 count, u32 dim, Source source) {
  for (u32 r = threadIdx.x / 32; r < count; r += WARPS) {
    auto from = source(r);
    for (u32 d = threadIdx.x % 32; d < dim; d += 32) to[r * pitch + d] = from ? to_f32(from[d]) : 0.0f;
  }
}
