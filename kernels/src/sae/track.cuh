// bias, track, dead: what a training step needs besides the two passes. Contracts: bias.rs, track.rs. Geometry:
// launch/track.rs. Not yet run on a device.
//
//   floor of bias:          n * dim * size bytes
//   floor of bias_backward: (rows + n) * dim * size bytes
//   floor of track:         8 * slots + 8 * n bytes;  of dead: 8 * n bytes
#pragma once
#include "decode.cuh"

// One warp: one latent. Lanes go over the columns, 16 bytes at a time.
template <class T>
__device__ void bias(const T* w, const f32* b_enc, const f32* b_dec, f32* out, u32 n, u32 dim, u64 stride) {
  u32 latent = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (latent >= n) return;
  f32 dot = 0;
  visit(w + latent * stride, dim, threadIdx.x % 32, 32, [&](u32 c, f32 x) { dot = __fmaf_rn(x, b_dec[c], dot); });
  dot = warp_sum(dot);
  if (threadIdx.x % 32 == 0) out[latent] = b_enc[latent] - dot;
}

// One block: 32 columns of a part of the rows, as 8 warps that take every eighth row; their sums are added in order.
// Rows of g come first, then those of w by the gradient of their bias. parts[part][column]
template <class T>
__device__ void bias_parts(const T* g, const T* w, const f32* db_enc, f32* parts, u32 rows, u32 n, u32 dim, u64 g_stride,
                           u64 w_stride, u32 part) {
  __shared__ f32 of_warp[8][32];  // exactly 1 KB
  u32 column = blockIdx.x * 32 + threadIdx.x % 32, warp = threadIdx.x / 32;
  u32 begin = blockIdx.y * part, end = min(u64(rows) + n, u64(begin) + part);
  f32 sum = 0;
  if (column < dim)
    for (u32 at = begin + warp; at < end; at += 8) {
      if (at < rows) sum += to_f32(g[at * g_stride + column]);
      else sum = __fmaf_rn(-db_enc[at - rows], to_f32(w[(at - rows) * w_stride + column]), sum);
    }
  of_warp[warp][threadIdx.x % 32] = sum;
  __syncthreads();
  if (warp > 0 || column >= dim) return;
  sum = 0;
  for (u32 i = 0; i < 8; ++i) sum += of_warp[i][threadIdx.x];
  parts[u64(blockIdx.y) * dim + column] = sum;
}

// A thread: a column, its parts in order.
__device__ inline void bias_sum(const f32* parts, f32* db_dec, u32 dim, u32 count, u32 add) {
  u32 column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= dim) return;
  f32 sum = 0;
  for (u32 i = 0; i < count; ++i) sum += parts[u64(i) * dim + column];
  db_dec[column] = add ? db_dec[column] + sum : sum;
}

// A thread: a latent. All are silent for `tokens` more, until the slots are looked at.
__device__ inline void track_age(u32* since, u32 n, u32 tokens) {
  u32 latent = blockIdx.x * blockDim.x + threadIdx.x;
  if (latent < n) since[latent] = since[latent] > ~tokens ? ~0u : since[latent] + tokens;
}

// A warp: a row. Whoever fired gets 0; several may say so, all the same.
__device__ inline void track_fire(const f32* values, const u32* latents, Slots slots, u32* since, u32 rows, u32 n, f32 fired) {
  u32 r = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (r >= rows) return;
  u32 end = slots.end(r);
  for (u32 at = slots.begin(r) + threadIdx.x % 32; at < end; at += 32)
    if (values[at] > fired && latents[at] < n) since[latents[at]] = 0;
}

// One block: a part of the latents, listed in order; those that are not dead fill the list from its end.
//   before   each block counts the dead ahead of its part itself, so no memory and no second launch is needed
__device__ inline void dead(const u32* since, u32* list, u32* count, u32 n, u32 limit, u32 part) {
  u32 first = blockIdx.x * part, last = min(u64(n), u64(first) + part), before = 0;
  for (u32 i = threadIdx.x; i < first; i += blockDim.x) before += since[i] >= limit;
  before = block_sum(before);
  for (u32 begin = first; begin < last; begin += blockDim.x) {
    u32 i = begin + threadIdx.x, all;
    bool is = i < last && since[i] >= limit;
    u32 rank = before + block_scan(u32(is), all);
    if (is) list[rank] = i;
    else if (i < last) list[n - 1 - (i - rank)] = n;
    before += all;
  }
  if (threadIdx.x == 0 && last == n) *count = before;
}
