// AdamW whose averages are codes of 8 bits. Contract: adamw8.rs.
//
//   A warp has a block of entries, then one a grid of warps further on; lane l sees every 32nd from l on.
//   first   decode, move the averages, step w; the largest sizes by shuffles
//   again   decode and move (from the cache: the codes are still the old ones), divide by the new scales, search the codes
//
// Tables are searched in shared memory. Every operation rounds to f32, and none is fused. Not yet run on a device.
#pragma once
#include "constants.cuh"
#include "reduce.cuh"
#include "tables.cuh"

constexpr f32 LEAST = 7.8886090522101180541e-31f;  // 2^-100

// Ranks as sizes do, and of two equal ones the positive above the other.
__device__ inline u32 size_key(f32 x) {
  u32 bits = __float_as_uint(x);
  return bits << 1 | ((bits >> 31) ^ 1);
}

// A scale by the largest key, and what brings numbers to their codes: 0 if all codes are 0.
struct Scale {
  f32 scale, inverse;
  __device__ static Scale of(u32 key) {
    u32 size = key >> 1;
    if (size >= 0x7f800000u) return {not_a_number(), 0.0f};
    if (__uint_as_float(size) < LEAST) return {0.0f, 0.0f};
    f32 scale = __uint_as_float(size | ((key & 1) ^ 1) << 31);
    return {scale, __fdiv_rn(1.0f, scale)};
  }
};

// The place in an ascending table of 256 of the number nearest to x, of two the smaller.
__device__ inline u32 nearest(const f32* table, f32 x) {
  u32 at = 0;
#pragma unroll
  for (u32 step = 128; step; step /= 2)
    if (x > __fmul_rn(0.5f, __fadd_rn(table[at + step - 1], table[at + step]))) at += step;
  return at;
}

__device__ inline void adamw8(f32* w, const f32* g, u8* m, u8* v, f32* scales, const Constants& c, u64 n, u32 block,
                              f32* tables) {
  const f32 *dynamic = tables, *squares = tables + 256;
  for (u32 i = threadIdx.x; i < 256; i += blockDim.x) tables[i] = DYNAMIC[i], tables[256 + i] = UNSIGNED[i];
  __syncthreads();
  u32 lane = threadIdx.x % 32, warps = blockDim.x / 32;
  u64 step = u64(gridDim.x) * warps;
  for (u64 at = u64(blockIdx.x) * warps + threadIdx.x / 32; at * block < n; at += step) {
    u64 first = at * block, end = min(first + block, n);
    f32 of_m = scales[2 * at], of_v = scales[2 * at + 1];
    auto moved = [&](u64 i, f32& mean, f32& square) {
      f32 d = g[i];
      mean = __fadd_rn(__fmul_rn(c.beta1, __fmul_rn(dynamic[m[i]], of_m)), __fmul_rn(c.rest1, d));
      square = __fadd_rn(__fmul_rn(c.beta2, __fmul_rn(squares[v[i]], of_v)), __fmul_rn(__fmul_rn(c.rest2, d), d));
    };
    u32 top_m = 0, top_v = 0;
    for (u64 i = first + lane; i < end; i += 32) {
      f32 mean, square;
      moved(i, mean, square);
      f32 below = __fadd_rn(__fmul_rn(c.root, __fsqrt_rn(square)), c.eps);
      w[i] = __fsub_rn(__fmul_rn(c.keep, w[i]), __fdiv_rn(__fmul_rn(c.rate, mean), below));
      top_m = max(top_m, size_key(mean)), top_v = max(top_v, size_key(square));
    }
    Scale to_m = Scale::of(warp_max(top_m)), to_v = Scale::of(warp_max(top_v));
    for (u64 i = first + lane; i < end; i += 32) {
      f32 mean, square;
      moved(i, mean, square);
      m[i] = u8(to_m.inverse == 0 ? 0 : nearest(dynamic, __fmul_rn(mean, to_m.inverse)));
      v[i] = u8(to_v.inverse == 0 || square == 0 ? 0 : max(1u, nearest(squares, __fmul_rn(square, to_v.inverse))));
    }
    __syncwarp();  // all have read the old scales
    if (lane == 0) scales[2 * at] = to_m.scale, scales[2 * at + 1] = to_v.scale;
  }
}
