// compress, and bounds of scores by the copy. Contract: copy.rs. Geometry: launch/search.rs. Not yet run on a device.
#pragma once
#include "search.cuh"

// What rows and queries are copied, and how much roundings may do: twins of copy.rs.
__device__ inline bool fits(f32 top) { return top >= 1.0f / (1ull << 40) && top <= f32(1ull << 40); }
__device__ inline f32 slack(u32 dim) { return f32(3 * dim + 128) / (1 << 24); }
__device__ inline f32 beyond(f32 top, u32 dim) {
  constexpr f32 TINY = 1.0f / (1ull << 40);
  return top == 0 ? 0 : top < TINY ? TINY * sqrtf(f32(dim)) : infinity();
}

// The nearest integer, ties to even, at most 127 in size.
__device__ inline i8 nearest(f32 x) { return i8(rintf(x < -127 ? -127 : x > 127 ? 127 : x)); }

__device__ inline f32 scale_of(f32 top, i8) { return top / 127; }
__device__ inline f32 scale_of(f32, bf16) { return 1; }
__device__ inline i8 code_of(f32 x, f32 scale, i8) { return nearest(x / scale); }
__device__ inline bf16 code_of(f32 x, f32, bf16) { return from_f32<bf16>(x); }
__device__ inline f32 value_of(i8 code) { return f32(code); }
__device__ inline f32 value_of(bf16 code) { return to_f32(code); }

// The largest size of n numbers, by the lanes of a warp; not finite if one of them is not.
template <class T> __device__ f32 largest_size(const T* x, u32 n) {
  u32 top = 0;  // sizes rank as their bits do, NaN highest
  visit(x, n, threadIdx.x % 32, 32, [&](u32, f32 x) { top = max(top, __float_as_uint(x) & 0x7fffffffu); });
  return __uint_as_float(warp_max(top));
}

// A warp: a row.
template <class T, class C> __device__ void compress(const T* x, C* codes, f32* bounds, u32 n, u32 dim, u64 stride) {
  u32 v = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (v >= n) return;
  x += v * stride;
  codes += u64(v) * dim;
  f32 top = largest_size(x, dim), scale = scale_of(top, C()), off = 0, all = 0;
  bool is = fits(top);
  for (u32 c = threadIdx.x % 32; c < dim; c += 32) {
    f32 value = to_f32(x[c]);
    C code = is ? code_of(value, scale, C()) : C();
    f32 rest = __fmaf_rn(-value_of(code), scale, value);
    codes[c] = code;
    off = __fmaf_rn(rest, rest, off);
    all = __fmaf_rn(value, value, all);
  }
  off = warp_sum(off);
  all = warp_sum(all);
  if (threadIdx.x % 32 != 0) return;
  bounds[u64(v) * 3] = is ? scale : 0;
  bounds[u64(v) * 3 + 1] = is ? sqrtf(off) : beyond(top, dim);
  bounds[u64(v) * 3 + 2] = is ? sqrtf(all) : beyond(top, dim);
}

// A warp: a query as integers, high and low, unless they are null; and scale, length and how far off it is.
template <class T> __device__ void query(const T* queries, i8* high, i8* low, f32* numbers, u32 count, u32 dim, u64 stride) {
  u32 q = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (q >= count) return;
  const T* x = queries + q * stride;
  f32 top = largest_size(x, dim), scale = top / 127, off = 0, all = 0;
  bool is = fits(top);
  for (u32 c = threadIdx.x % 32; c < dim; c += 32) {
    f32 value = to_f32(x[c]);
    all = __fmaf_rn(value, value, all);
    if (high == nullptr) continue;
    i8 h = is ? nearest(value / scale) : i8(0);
    f32 rest = __fmaf_rn(-f32(h), scale, value);
    i8 l = is ? nearest(rest / scale * 254) : i8(0);
    rest = __fmaf_rn(-f32(l), scale / 254, rest);
    high[u64(q) * dim + c] = h;
    low[u64(q) * dim + c] = l;
    off = __fmaf_rn(rest, rest, off);
  }
  off = warp_sum(off);
  all = warp_sum(all);
  if (threadIdx.x % 32 != 0) return;
  f32 far = is ? sqrtf(off) : beyond(top, dim), length = is ? sqrtf(all) : beyond(top, dim);
  numbers[u64(q) * 3] = is ? scale : 0;
  numbers[u64(q) * 3 + 1] = length + far;
  numbers[u64(q) * 3 + 2] = far + slack(dim) * length;
}

// What a score is at most: twin of Lengths::bound.
__device__ inline f32 bound_of(f32 near, const f32* of_row, const f32* of_query) {
  f32 bound = near + of_row[1] * of_query[1] + of_row[2] * of_query[2];
  return bound != bound ? infinity() : bound;
}

// A warp: a row of the copy of integers, for one query.
__device__ inline void bounds_of(const i8* codes, const f32* bounds, const i8* high, const i8* low, const f32* numbers,
                                 f32* out, u32 n, u32 dim) {
  u32 v = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, q = blockIdx.y;
  if (v >= n) return;
  const i8 *row = codes + u64(v) * dim, *h = high + u64(q) * dim, *l = low + u64(q) * dim;
  i32 sums[2] = {};
  for (u32 c = threadIdx.x % 32; c < dim; c += 32) {
    sums[0] += i32(row[c]) * h[c];
    sums[1] += i32(row[c]) * l[c];
  }
  sums[0] = warp_sum(sums[0]);
  sums[1] = warp_sum(sums[1]);
  if (threadIdx.x % 32 != 0) return;
  const f32 *of_row = bounds + u64(v) * 3, *of_query = numbers + u64(q) * 3;
  f32 near = of_query[0] * of_row[0] * (f32(sums[0]) + f32(sums[1]) * (1.0f / 254));
  out[u64(q) * n + v] = bound_of(near, of_row, of_query);
}

// The copy of bf16, as scores of search.
template <class T> __device__ void near(const Texts<T, bf16>& texts, const f32* bounds, const f32* numbers, f32* out) {
  scores(texts, out, [&](u32 q, u32 v, f32 sum) { return bound_of(sum, bounds + u64(v) * 3, numbers + u64(q) * 3); });
}
