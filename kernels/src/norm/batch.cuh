// Columns by the statistics of a batch, or by given ones. Contract: batch.rs. Statistics: reduce/moments.cuh.
//
//   apply      a block to a row
//   sums       a block to 32 columns, 32 threads a column: thread j takes rows j, j + 32, .., 64 of them added up by
//              themselves before they join the rest. Then the 32 in order
//   backward   a block to a row, with the sums of its columns
//
// Not yet run on a device.
#pragma once
#include "latens.cuh"

template <class T>
__device__ void batch_apply(const T* x, const f32* mean, const f32* variance, const f32* weight, const f32* bias, T* y,
                            u32 n, u64 stride, f32 eps) {
  x += blockIdx.x * stride;
  y += u64(blockIdx.x) * n;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    f32 factor = 1.0f / sqrtf(variance[i] + eps);
    y[i] = from_f32<T>((to_f32(x[i]) - mean[i]) * factor * weight[i] + (bias ? bias[i] : 0.0f));
  }
}

template <class T>
__device__ void batch_sums(const T* x, const f32* mean, const f32* variance, const T* dy, f32* sums, f32* dweight,
                           f32* dbias, u64 rows, u32 n, u64 x_stride, u64 dy_stride, f32 eps, u32 add) {
  LATENS_SHARED(f32, parts);
  u32 at = blockIdx.x * 32 + threadIdx.x % 32, lane = threadIdx.x / 32;
  f32 along = 0, all = 0, center = at < n ? mean[at] : 0.0f, factor = at < n ? 1.0f / sqrtf(variance[at] + eps) : 0.0f;
  for (u64 row = lane; at < n && row < rows;) {
    f32 some = 0, others = 0;
    for (u32 i = 0; i < 64 && row < rows; ++i, row += 32) {
      f32 d = to_f32(dy[row * dy_stride + at]);
      some += d * ((to_f32(x[row * x_stride + at]) - center) * factor);
      others += d;
    }
    along += some, all += others;
  }
  parts[threadIdx.x] = along;
  parts[1024 + threadIdx.x] = all;
  __syncthreads();
  if (lane > 0 || at >= n) return;
  for (u32 i = 1; i < 32; ++i) along += parts[i * 32 + threadIdx.x], all += parts[1024 + i * 32 + threadIdx.x];
  sums[at] = along, sums[u64(n) + at] = all;
  if (dweight) dweight[at] = add ? dweight[at] + along : along;
  if (dbias) dbias[at] = add ? dbias[at] + all : all;
}

template <class T>
__device__ void batch_backward(const T* x, const f32* mean, const f32* variance, const f32* weight, const T* dy,
                               const f32* sums, T* dx, u32 n, u64 x_stride, u64 dy_stride, f32 eps, f32 share, u32 add) {
  x += blockIdx.x * x_stride;
  dy += blockIdx.x * dy_stride;
  dx += u64(blockIdx.x) * n;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    f32 factor = 1.0f / sqrtf(variance[i] + eps), unit = (to_f32(x[i]) - mean[i]) * factor;
    f32 slope = weight[i] * factor * (to_f32(dy[i]) - (sums[u64(n) + i] + unit * sums[i]) * share);
    dx[i] = from_f32<T>(add ? to_f32(dx[i]) + slope : slope);
  }
}
