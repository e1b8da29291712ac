// Correlation of columns. Contract: pearson.rs.
//
//   forward   as the columns of moments.cuh, of two columns at once with the sum of their products
//   backward  a block to a row: every entry by the statistics of its column; for one vector the sum over the block
//
// Not yet run on a device.
#pragma once
#include "moments.cuh"

// Two columns: their moments, and the sum of products of differences from the means.
struct Together {
  Moments x, y;
  f32 cross;

  static __device__ Together of(const f32* x, const f32* y, u32 left) {
    Together all = {Moments::of(x, left), Moments::of(y, left), 0.0f};
#pragma unroll
    for (u32 i = 0; i < FEW; ++i) all.cross += i < left ? (x[i] - all.x.mean) * (y[i] - all.y.mean) : 0.0f;
    return all;
  }

  __device__ void join(const Together& other) {
    if (other.x.count == 0) return;
    f32 weight = x.count * (other.x.count / (x.count + other.x.count));
    cross += other.cross + (other.x.mean - x.mean) * (other.y.mean - y.mean) * weight;
    x.join(other.x), y.join(other.y);
  }
};

template <class T>
__device__ void pearson(const T* x, const T* y, f32* r, f32* saved, u64 count, u32 n, u64 x_stride, u64 y_stride,
                        u32 shared) {
  LATENS_SHARED(f32, parts);
  u32 at = blockIdx.x * 32 + threadIdx.x % 32, lane = threadIdx.x / 32, of_y = shared ? 0 : at;
  bool is = at < n && count;
  f32 from_x = is ? anchor(to_f32(x[at])) : 0.0f, from_y = is ? anchor(to_f32(y[of_y])) : 0.0f;
  Together mine = {{0, 0, 0}, {0, 0, 0}, 0};
  for (u64 row = lane; is && row < count; row += 32 * FEW) {
    f32 some[FEW], others[FEW];
    u32 left = u32(min((count - row + 31) / 32, u64(FEW)));
#pragma unroll
    for (u32 i = 0; i < FEW; ++i) {
      u64 here = row + 32 * i;
      some[i] = i < left ? to_f32(x[here * x_stride + at]) - from_x : 0.0f;
      others[i] = i < left ? to_f32(y[here * y_stride + of_y]) - from_y : 0.0f;
    }
    mine.join(Together::of(some, others, left));
  }
  f32* part = parts + threadIdx.x * 6;
  part[0] = mine.x.count, part[1] = mine.x.mean, part[2] = mine.x.square;
  part[3] = mine.y.mean, part[4] = mine.y.square, part[5] = mine.cross;
  __syncthreads();
  if (lane > 0 || at >= n) return;
  for (u32 i = 1; i < 32; ++i) {
    const f32* other = parts + (i * 32 + threadIdx.x) * 6;
    mine.join({{other[0], other[1], other[2]}, {other[0], other[3], other[4]}, other[5]});
  }
  f32 size = sqrtf(mine.x.square), extent = sqrtf(mine.y.square), value = mine.cross / size / extent;
  if (size * extent == 0) value = 0.0f;
  r[at] = value > 1 ? 1.0f : value < -1 ? -1.0f : value;
  saved[at] = size != size || count == 0 ? not_a_number() : from_x + mine.x.mean;
  saved[u64(n) + at] = extent != extent || count == 0 ? not_a_number() : from_y + mine.y.mean;
  saved[2 * u64(n) + at] = size;
  saved[3 * u64(n) + at] = extent;
}

// A block: a row.
template <class T>
__device__ void pearson_backward(const T* x, const T* y, const f32* r, const f32* saved, const f32* dr, T* dx, T* dy,
                                 u32 n, u64 x_stride, u64 y_stride, u32 shared, u32 add) {
  x += blockIdx.x * x_stride;
  y += blockIdx.x * y_stride;
  u64 begin = u64(blockIdx.x) * n;
  f32 sum = 0;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    f32 size = saved[2 * u64(n) + i], extent = saved[3 * u64(n) + i], value = r[i], slope = dr[i];
    f32 u = (to_f32(x[i]) - saved[i]) / size, w = (to_f32(y[shared ? 0 : i]) - saved[u64(n) + i]) / extent;
    bool none = size * extent == 0;
    f32 of_x = none ? 0.0f : slope * (w - value * u) / size, of_y = none ? 0.0f : slope * (u - value * w) / extent;
    sum += of_y;
    if (dx) dx[begin + i] = from_f32<T>(add ? to_f32(dx[begin + i]) + of_x : of_x);
    if (dy && !shared) dy[begin + i] = from_f32<T>(add ? to_f32(dy[begin + i]) + of_y : of_y);
  }
  if (!dy || !shared) return;
  sum = block_sum(sum);
  T* to = dy + blockIdx.x;
  if (threadIdx.x == 0) *to = from_f32<T>(add ? to_f32(*to) + sum : sum);
}
