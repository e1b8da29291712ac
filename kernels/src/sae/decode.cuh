// decode: x̂ = b_dec + Σ values W_dec[latents], and against an x the residual and its squares. Contract: decode.rs.
// Geometry: launch/decode.rs. Not yet run on a device.
//
//   floor: slots * (dim * size + 8) + rows * dim * size (3 times that against an x) bytes, of which the gather is from
//          the second-level cache when a slab of all latents fits there
#pragma once
#include "reduce.cuh"
#include "vector.cuh"

// The slots of a row; what lies past the end, or descends, is cut off.
struct Slots {
  const u32* offsets;  // or null: `width` for each row
  u32 width, slots;
  __device__ u32 begin(u32 r) const { return offsets ? min(offsets[r], slots) : r * width; }
  __device__ u32 end(u32 r) const { return offsets ? max(begin(r), min(offsets[r + 1], slots)) : (r + 1) * width; }
};

// Add value * w[latent][column..column + N) to sum, for all lanes' slots in turn; 4 rows of w are asked for at a time.
template <class T, u32 N>
__device__ void gather(f32 (&sum)[N], const f32* values, const u32* latents, u32 begin, u32 end, const T* w, u64 stride,
                       u32 n, u32 column, u32 dim) {
  u32 lane = threadIdx.x % 32;
  for (u32 at = begin; at < end; at += 32) {
    u32 mine = at + lane < end ? latents[at + lane] : n, count = min(32u, end - at);
    f32 value = mine < n ? values[at + lane] : 0;
    for (u32 j = 0; j < count; j += 4) {
      Pack<T> row[4];
      f32 v[4];
      bool is[4];
#pragma unroll
      for (u32 i = 0; i < 4; ++i) {
        u32 latent = __shfl_sync(~0u, mine, j + i);
        v[i] = __shfl_sync(~0u, value, j + i);
        is[i] = latent < n && column < dim;
        if (is[i]) row[i] = fetch(w + latent * stride + column, dim - column);
      }
#pragma unroll
      for (u32 i = 0; i < 4; ++i)
#pragma unroll
        for (u32 c = 0; c < N; ++c)
          if (is[i]) sum[c] = __fmaf_rn(v[i], to_f32(row[i].x[c]), sum[c]);
    }
  }
}

// One warp: one row and a slab of columns, 16 bytes a lane. Blocks go through the rows of one slab before the next, so
// that a slab of w stays in cache.
//   gather   the slots, in order, 32 read together and passed on by shuffles
//   write    x̂, and x - x̂ as it was before rounding
//   error    the warp's part of the sum of squares, to be added in order of slabs
template <class T>
__device__ void decode(const f32* values, const u32* latents, Slots slots, const T* w, const f32* b_dec, const T* x,
                       T* recon, T* residual, f32* errors, u32 rows, u32 dim, u32 n, u64 w_stride, u64 x_stride, u32 slabs) {
  constexpr u32 N = Pack<T>::N;
  u32 r = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, column = (blockIdx.y * 32 + threadIdx.x % 32) * N;
  if (r >= rows) return;
  f32 sum[N];
#pragma unroll
  for (u32 c = 0; c < N; ++c) sum[c] = b_dec && column + c < dim ? b_dec[column + c] + 0.0f : 0;
  gather(sum, values, latents, slots.begin(r), slots.end(r), w, w_stride, n, column, dim);
  f32 error = 0;
  if (column < dim) {
    u64 at = u64(r) * dim + column;
    Pack<T> out, rest, of = {};
    if (x) of = fetch(x + r * x_stride + column, dim - column);
#pragma unroll
    for (u32 c = 0; c < N; ++c) {
      f32 e = to_f32(of.x[c]) - sum[c];
      out.x[c] = from_f32<T>(sum[c]);
      rest.x[c] = from_f32<T>(e);
      if (x && column + c < dim) error = __fmaf_rn(e, e, error);
    }
    place(recon + at, dim - column, out);
    if (x) place(residual + at, dim - column, rest);
  }
  if (x) {
    error = warp_sum(error);
    if (threadIdx.x % 32 == 0) errors[u64(r) * slabs + blockIdx.y] = error;
  }
}

// A thread: the sum of a row's parts, in order.
__device__ inline void decode_error(const f32* errors, f32* error, u32 rows, u32 slabs) {
  u32 r = blockIdx.x * blockDim.x + threadIdx.x;
  if (r >= rows) return;
  f32 sum = 0;
  for (u32 s = 0; s < slabs; ++s) sum += errors[u64(r) * slabs + s];
  error[r] = sum;
}
