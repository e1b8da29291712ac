// degree, weigh, pool, largest and their gradients. Contracts: degree.rs, weigh.rs, pool.rs. Geometry: launch/pool.rs. Not yet run on a
// device.
//
//   floor of weigh:  12 bytes an entry
//   floor of pool:   entries * (dim * size + 8) + rows * dim * size bytes, the gather from cache where x fits there
//   floor of dots:   entries * (2 * dim * size + 12) bytes
#pragma once
#include "incidence.cuh"
#include "vector.cuh"

constexpr u32 MEAN = 1, SOFTMAX = 2;  // twins of launch/pool.rs

struct Terms {
  const f32 *values, *columns, *rows;
  u32 how;
  __device__ f32 of(u32 column, u32 number) const {
    if (how == SOFTMAX) return (values ? values[number] : 0) + (columns ? columns[column] : 0);
    return (values ? values[number] : 1) * (columns ? columns[column] : 1);
  }
  __device__ f32 row(u32 r) const { return rows ? rows[r] : 1; }
};

__device__ inline void clear(f32* to, u32 count) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) to[i] = 0;
}

// fold(i, column, number) over the entries of a row, by the lanes of a warp.
template <class F> __device__ void each_entry(const Rows& in, u32 r, F fold) {
  u32 end = in.end(r), column, number;
  for (u32 i = in.begin(r) + threadIdx.x % 32; i < end; i += 32)
    if (in.find(i, column, number)) fold(column, number);
}

// What makes the terms of a row its shares: share(h) = part(h) * scale.
struct Shares {
  u32 how;
  f32 top, scale;
  __device__ f32 of(f32 h) const {
    if (how == SOFTMAX) return h == -infinity() ? 0 : expf(h - top) * scale;
    return h * scale;
  }
};

__device__ inline Shares shares(const Rows& in, const Terms& terms, u32 r) {
  Shares s = {terms.how, -infinity(), 1};
  if (s.how == SOFTMAX) {
    each_entry(in, r, [&](u32 column, u32 number) { s.top = max(s.top, terms.of(column, number)); });
    s.top = warp_max(s.top);
  }
  if (s.how != 0) {
    f32 sum = 0;
    each_entry(in, r, [&](u32 column, u32 number) { sum += s.of(terms.of(column, number)); });
    sum = warp_sum(sum);
    s.scale = sum == 0 ? 0 : 1 / sum;
  }
  return s;
}

constexpr u32 INVERSE = 1, INVERSE_ROOT = 2, RARITY = 3;  // likewise

// A warp: a row.
__device__ inline void degree(const Rows& in, const Terms& terms, f32* out) {
  u32 r = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (r >= in.rows) return;
  f32 d = 0;
  Terms all = {terms.values, terms.columns, nullptr, 0};
  each_entry(in, r, [&](u32 column, u32 number) { d += all.of(column, number); });
  d = warp_sum(d);
  if (threadIdx.x % 32 != 0) return;
  if (terms.how == INVERSE) d = d == 0 ? 0 : 1 / d;
  if (terms.how == INVERSE_ROOT) d = d <= 0 ? 0 : 1 / sqrtf(d);
  if (terms.how == RARITY) d = logf((1 + f32(in.columns)) / (1 + d)) + 1;
  out[r] = d;
}

// A warp: a row.
__device__ inline void weigh(const Rows& in, const Terms& terms, f32* a) {
  u32 r = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (r >= in.rows) return;
  Shares s = shares(in, terms, r);
  f32 factor = terms.row(r);
  each_entry(in, r, [&](u32 column, u32 number) { a[number] = factor * s.of(terms.of(column, number)); });
}

// A warp: a row. The gradient of the values.
__device__ inline void weigh_backward(const Rows& in, const Terms& terms, const f32* da, f32* dvalues) {
  u32 r = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (r >= in.rows) return;
  Shares s = shares(in, terms, r);
  f32 mean = 0, factor = terms.row(r);
  if (s.how != 0) {
    each_entry(in, r, [&](u32 column, u32 number) { mean += s.of(terms.of(column, number)) * da[number]; });
    mean = warp_sum(mean);
  }
  each_entry(in, r, [&](u32 column, u32 number) {
    f32 of = s.how == SOFTMAX ? s.of(terms.of(column, number)) : s.scale * (terms.columns ? terms.columns[column] : 1);
    dvalues[number] = of == 0 ? 0 : factor * of * (da[number] - mean);
  });
}

// A thread: 16 bytes of a row of y; neighbours share the row, so its indices come from one cache line.
template <class T> __device__ void pool(const Rows& in, const f32* a, const T* x, T* y, u32 dim, u64 stride) {
  constexpr u32 N = Pack<T>::N;
  u32 packs = (dim + N - 1) / N;
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(in.rows) * packs) return;
  u32 r = u32(at / packs), k = u32(at % packs) * N, end = in.end(r), column, number;
  f32 sum[N] = {};
  for (u32 i = in.begin(r); i < end; ++i) {
    if (!in.find(i, column, number)) continue;
    Pack<T> row = fetch(x + column * stride + k, dim - k);
    f32 weight = a ? a[number] : 1;
#pragma unroll
    for (u32 c = 0; c < N; ++c) sum[c] = __fmaf_rn(weight, to_f32(row.x[c]), sum[c]);
  }
  Pack<T> out;
#pragma unroll
  for (u32 c = 0; c < N; ++c) out.x[c] = from_f32<T>(sum[c] + 0.0f);
  place(y + u64(r) * dim + k, dim - k, out);
}

// A thread: a number of y.
template <class T>
__device__ void largest(const Rows& in, const f32* a, const T* x, T* y, u32* chosen, u32 dim, u64 stride) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(in.rows) * dim) return;
  u32 r = u32(at / dim), k = u32(at % dim), end = in.end(r), best = in.entries, top = 0, column, number;
  f32 value = 0;
  for (u32 i = in.begin(r); i < end; ++i) {
    if (!in.find(i, column, number)) continue;
    f32 term = to_f32(x[column * stride + k]) * (a ? a[number] : 1);
    u32 rank = order(term);
    if (best != in.entries && rank <= top) continue;
    value = term;
    top = rank;
    best = number;
  }
  y[at] = from_f32<T>(value);
  chosen[at] = best;
}

// A thread: a number of dx. `in` is turned over: its rows are the columns that were pooled.
template <class T>
__device__ void largest_backward(const Rows& in, const f32* a, const T* dy, const u32* chosen, T* dx, u32 dim, u64 stride) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(in.rows) * dim) return;
  u32 r = u32(at / dim), k = u32(at % dim), end = in.end(r), column, number;
  f32 sum = 0;
  for (u32 i = in.begin(r); i < end; ++i)
    if (in.find(i, column, number) && chosen[u64(column) * dim + k] == number)
      sum = __fmaf_rn(a ? a[number] : 1, to_f32(dy[column * stride + k]), sum);
  dx[at] = from_f32<T>(sum);
}

// A warp: an entry, so that long rows are shared out.
template <class T>
__device__ void dots(const Rows& in, const T* dy, const T* x, f32* da, u32 dim, u64 dy_stride, u64 x_stride) {
  u32 i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, column, number;
  if (i >= in.entries) return;
  bool is = i < in.count() && in.find(i, column, number);
  f32 dot = 0;
  if (is) {
    const T* g = dy + in.row(i) * dy_stride;
    for (u32 k = threadIdx.x % 32; k < dim; k += 32) dot = __fmaf_rn(to_f32(g[k]), to_f32(x[column * x_stride + k]), dot);
  }
  dot = warp_sum(dot);
  if (threadIdx.x % 32 == 0 && is) da[number] = dot;  // others got 0 before
}
