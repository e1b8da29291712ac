// select, search, compress. Contracts: select.rs, search.rs. Geometry: launch/select.rs, launch/search.rs. Not yet run on
// a device.
//
//   floor of select:      8 * entries bytes, and 8 * k a row
//   floor of search:      n * dim * size bytes for every 4 queries, and the scores written and read
//   floor of compressed:  n * (dim + 12) bytes a query, and candidates * dim * size
#pragma once
#include "incidence.cuh"
#include "select.cuh"
#include "vector.cuh"

constexpr u32 SORTED = 256;  // so few members are sorted as they are: twin of launch/select.rs

// A block: a row.
__device__ inline void select_members(const Rows& in, const f32* scores, f32* values, u32* found, u32 k, u32 room) {
  LATENS_SHARED(u64, list);
  __shared__ u32 kept;
  u32* bins = reinterpret_cast<u32*>(list + room);
  u32 r = blockIdx.x, begin = in.begin(r), count = in.end(r) - begin;
  auto key = [&](u32 i) {
    u32 column = in.members[begin + i];
    return column < in.columns ? entry(order(scores[column]), column) : 0;
  };
  if (threadIdx.x == 0) kept = 0;
  __syncthreads();
  u64 bound = count > room ? bound_of(Block(), key, count, k, bins) : 0;
  for (u32 i = threadIdx.x; i < count; i += blockDim.x) {
    u64 e = key(i);
    if (e == 0 || e < bound) continue;
    u32 at = atomicAdd(&kept, 1u);
    if (at < room) list[at] = e;  // more only if a row names a column twice
  }
  __syncthreads();
  u32 have = min(kept, room);
  sort(Block(), list, have);
  for (u32 j = threadIdx.x; j < k; j += blockDim.x) {
    u32 column = j < have ? entry_index(list[j]) : in.columns;
    found[u64(r) * k + j] = column;
    values[u64(r) * k + j] = j < have ? scores[column] : -infinity();
  }
}

// What a score needs.
template <class T> struct Texts {
  const T *queries, *corpus;
  u32 count, n, dim;
  u64 of_queries, of_corpus;
  // By the lanes of a warp.
  __device__ f32 score(u32 q, u32 v) const {
    const T* query = queries + q * of_queries;
    f32 dot = 0;
    visit(corpus + v * of_corpus, dim, threadIdx.x % 32, 32, [&](u32 c, f32 x) { dot = __fmaf_rn(x, to_f32(query[c]), dot); });
    return warp_sum(dot);
  }
};

constexpr u32 TOGETHER = 4;  // queries that read a row together: twin of launch/search.rs

// A warp: a row of the corpus and some queries. Each sum is made as Texts::score makes it.
template <class T> __device__ void scores(const Texts<T>& texts, f32* out) {
  u32 v = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, first = blockIdx.y * TOGETHER;
  if (v >= texts.n) return;
  u32 some = min(TOGETHER, texts.count - first);
  f32 dot[TOGETHER] = {};
  visit(texts.corpus + v * texts.of_corpus, texts.dim, threadIdx.x % 32, 32, [&](u32 c, f32 x) {
#pragma unroll
    for (u32 j = 0; j < TOGETHER; ++j)
      if (j < some) dot[j] = __fmaf_rn(x, to_f32(texts.queries[(first + j) * texts.of_queries + c]), dot[j]);
  });
#pragma unroll
  for (u32 j = 0; j < TOGETHER; ++j) {
    f32 sum = warp_sum(dot[j]);
    if (threadIdx.x % 32 == 0 && j < some) out[u64(first + j) * texts.n + v] = sum;
  }
}

// The nearest integer, ties to even, at most 127 in size.
__device__ inline i8 nearest(f32 x) { return i8(rintf(x < -127 ? -127 : x > 127 ? 127 : x)); }

// The largest size of n numbers, by the lanes of a warp; not finite if one of them is not.
template <class T> __device__ f32 largest_size(const T* x, u32 n) {
  u32 top = 0;  // sizes rank as their bits do, NaN highest
  visit(x, n, threadIdx.x % 32, 32, [&](u32, f32 x) { top = max(top, __float_as_uint(x) & 0x7fffffffu); });
  return __uint_as_float(warp_max(top));
}

__device__ inline bool is_finite(f32 x) { return fabsf(x) < infinity(); }

// A warp: a row.
template <class T> __device__ void compress(const T* x, i8* codes, f32* bounds, u32 n, u32 dim, u64 stride) {
  u32 v = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (v >= n) return;
  x += v * stride;
  codes += u64(v) * dim;
  f32 top = largest_size(x, dim), scale = top / 127, off = 0, all = 0;
  bool finite = is_finite(top);
  for (u32 c = threadIdx.x % 32; c < dim; c += 32) {
    f32 value = to_f32(x[c]);
    i8 code = finite && scale > 0 ? nearest(value / scale) : i8(0);
    f32 rest = __fmaf_rn(-f32(code), scale, value);
    codes[c] = code;
    off = __fmaf_rn(rest, rest, off);
    all = __fmaf_rn(value, value, all);
  }
  off = warp_sum(off);
  all = warp_sum(all);
  if (threadIdx.x % 32 != 0) return;
  bounds[u64(v) * 3] = finite ? scale : 0;
  bounds[u64(v) * 3 + 1] = finite ? sqrtf(off) : infinity();
  bounds[u64(v) * 3 + 2] = finite ? sqrtf(all) : infinity();
}

// A warp: a query as integers, high and low, and scale, length and how far off that is.
template <class T> __device__ void query(const T* queries, i8* high, i8* low, f32* numbers, u32 count, u32 dim, u64 stride) {
  u32 q = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (q >= count) return;
  const T* x = queries + q * stride;
  f32 top = largest_size(x, dim), scale = top / 127, off = 0, all = 0;
  bool finite = is_finite(top), is = finite && scale > 0;
  for (u32 c = threadIdx.x % 32; c < dim; c += 32) {
    f32 value = to_f32(x[c]);
    i8 h = is ? nearest(value / scale) : i8(0);
    f32 rest = __fmaf_rn(-f32(h), scale, value);
    i8 l = is ? nearest(rest / scale * 254) : i8(0);
    rest = __fmaf_rn(-f32(l), scale / 254, rest);
    high[u64(q) * dim + c] = h;
    low[u64(q) * dim + c] = l;
    off = __fmaf_rn(rest, rest, off);
    all = __fmaf_rn(value, value, all);
  }
  off = warp_sum(off);
  all = warp_sum(all);
  if (threadIdx.x % 32 != 0) return;
  f32 length = finite ? sqrtf(all) : infinity();
  numbers[q * 3] = finite ? scale : 0;
  numbers[q * 3 + 1] = length;
  numbers[q * 3 + 2] = finite ? sqrtf(off) + length / 65536 : infinity();
}

// A warp: a row of the copy, for one query.
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
  const f32 *of_row = bounds + u64(v) * 3, *of_query = numbers + q * 3;
  f32 near = of_query[0] * of_row[0] * (f32(sums[0]) + f32(sums[1]) * (1.0f / 254));
  f32 bound = near + of_row[1] * of_query[1] + of_row[2] * of_query[2];
  out[u64(q) * n + v] = bound != bound ? infinity() : bound;
}

// A warp: a candidate.
template <class T> __device__ void rescore(const Texts<T>& texts, const u32* ids, u64* list, u32 candidates) {
  u32 j = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, q = blockIdx.y;
  if (j >= candidates) return;
  u64 at = u64(q) * candidates + j;
  u32 id = ids[at];
  if (id >= texts.n) return;  // never: topk made it
  f32 score = texts.score(q, id);
  if (threadIdx.x % 32 == 0) list[at] = entry(order(score), id);
}

// A block: a query. Its candidates in order, and whether no other row can be among the first k.
template <class T>
__device__ void best(const Texts<T>& texts, const f32* bounds, u64* list, f32* values, u32* ids, u32* complete, u32 k,
                     u32 candidates) {
  u32 q = blockIdx.x;
  list += u64(q) * candidates;
  sort(Block(), list, candidates);
  __syncthreads();
  for (u32 j = threadIdx.x / 32; j < k; j += blockDim.x / 32) {
    u32 id = entry_index(list[j]);
    f32 score = texts.score(q, id < texts.n ? id : 0);  // again: the order keeps neither NaN nor -0
    if (threadIdx.x % 32 != 0) continue;
    values[u64(q) * k + j] = score;
    ids[u64(q) * k + j] = id;
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  bool proved = k == 0 || candidates == texts.n || values[u64(q) * k + k - 1] > bounds[u64(q) * candidates + candidates - 1];
  complete[q] = proved;
}
