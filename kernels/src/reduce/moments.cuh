// Mean and sum of squares around it. Contract: moments.rs.
//
//   rows     a block to a row: the sum of differences from its first entry, then the squares around the mean
//   columns  a block to 32 columns, 32 threads a column; thread j takes rows j, j + 32, .., eight at a time: their mean, the
//            squares around it, and Chan's formula joins them to what the thread has. Then the 32 join in order
//
// All means are less one entry of their row or column, so that equal ones are exactly 0. Not yet run on a device.
#pragma once
#include "reduce.cuh"
#include "vector.cuh"

// Rows that a thread looks at together.
constexpr u32 FEW = 8;

// What differences are taken from.
__device__ inline f32 anchor(f32 x) { return (__float_as_uint(x) & 0x7fffffffu) < 0x7f800000u ? x : 0.0f; }

struct Moments {
  f32 count, mean, square;

  // Of `left` numbers, at most FEW; others are not looked at.
  static __device__ Moments of(const f32* x, u32 left) {
    f32 count = f32(min(left, FEW)), sum = 0, square = 0;
#pragma unroll
    for (u32 i = 0; i < FEW; ++i) sum += i < left ? x[i] : 0.0f;
    f32 mean = sum / count;
#pragma unroll
    for (u32 i = 0; i < FEW; ++i) square += i < left ? (x[i] - mean) * (x[i] - mean) : 0.0f;
    return {count, mean, square};
  }

  __device__ void join(const Moments& other) {
    f32 all = count + other.count;
    if (all == 0) return;
    f32 off = other.mean - mean, share = other.count / all;
    mean += off * share;
    square += other.square + off * off * (count * share);
    count = all;
  }
};

// The moments of rows begin, begin + step, .. below `end` of a column, by `at(row)`, less `from`.
template <class At> __device__ inline Moments moments_of(u64 begin, u64 end, u32 step, f32 from, At at) {
  Moments all = {0, 0, 0};
  for (u64 row = begin; row < end; row += u64(step) * FEW) {
    f32 x[FEW];
    u32 left = u32(min((end - row + step - 1) / step, u64(FEW)));
#pragma unroll
    for (u32 i = 0; i < FEW; ++i) x[i] = i < left ? at(row + u64(i) * step) - from : 0.0f;
    all.join(Moments::of(x, left));
  }
  return all;
}

// The moments of the `lanes` threads of a column, 32 columns to a block, in order: for those of the first 32 threads.
__device__ inline Moments join_lanes(Moments mine, f32* parts, u32 lanes) {
  f32* part = parts + threadIdx.x * 3;
  part[0] = mine.count, part[1] = mine.mean, part[2] = mine.square;
  __syncthreads();
  if (threadIdx.x >= 32) return mine;
  for (u32 lane = 1; lane < lanes; ++lane) {
    const f32* other = parts + (lane * 32 + threadIdx.x) * 3;
    mine.join({other[0], other[1], other[2]});
  }
  return mine;
}

template <class T> __device__ void moments_columns(const T* x, f32* mean, f32* variance, u64 count, u32 n, u64 stride) {
  LATENS_SHARED(f32, parts);
  u32 at = blockIdx.x * 32 + threadIdx.x % 32, lane = threadIdx.x / 32;
  f32 from = at < n && count ? anchor(to_f32(x[at])) : 0.0f;
  Moments mine = {0, 0, 0};
  if (at < n) mine = moments_of(lane, count, 32, from, [&](u64 row) { return to_f32(x[row * stride + at]); });
  mine = join_lanes(mine, parts, 32);
  if (lane > 0 || at >= n) return;
  f32 spread = mine.square / f32(count);
  mean[at] = spread != spread ? not_a_number() : from + mine.mean;
  variance[at] = spread;
}

template <class T> __device__ void moments_rows(const T* x, f32* mean, f32* variance, u32 n, u64 stride) {
  x += blockIdx.x * stride;
  f32 from = n ? anchor(to_f32(x[0])) : 0.0f, sum = 0, square = 0;
  visit(x, n, threadIdx.x, blockDim.x, [&](u32, f32 x) { sum += x - from; });
  f32 center = block_sum(sum) / f32(n);
  visit(x, n, threadIdx.x, blockDim.x, [&](u32, f32 x) { square += (x - from - center) * (x - from - center); });
  f32 spread = block_sum(square) / f32(n);
  if (threadIdx.x > 0) return;
  mean[blockIdx.x] = spread != spread ? not_a_number() : from + center;
  variance[blockIdx.x] = spread;
}

// A block: a row.
template <class T>
__device__ void moments_backward(const T* x, const f32* mean, const f32* dmean, const f32* dvariance, T* dx, u32 n,
                                 u64 stride, f32 share, u32 by_row, u32 add) {
  x += blockIdx.x * stride;
  dx += u64(blockIdx.x) * n;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    u32 at = by_row ? blockIdx.x : i;
    f32 slope = dmean ? dmean[at] : 0.0f;
    if (dvariance) slope += dvariance[at] * 2.0f * (to_f32(x[i]) - mean[at]);
    slope *= share;
    dx[i] = from_f32<T>(add ? to_f32(dx[i]) + slope : slope);
  }
}
