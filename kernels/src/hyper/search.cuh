// select, search. Contracts: select.rs, search.rs. Geometry: launch/select.rs, launch/search.rs. Not yet run on
// a device.
//
//   floor of select:      8 * entries bytes, and 8 * k a row
//   floor of search:      n * dim * size bytes for every 4 queries, and the scores written and read
//   floor of compressed:  of the copy, n * (dim + 12) bytes a query (bf16: 2 dim, for 4), and candidates * dim * size
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

// What a score needs: queries, and rows of a corpus or of its copy.
template <class T, class C = T> struct Texts {
  const T* queries;
  const C* corpus;
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

// A warp: a row of the corpus and some queries. Each sum is made as Texts::score makes it; what is kept is done(q, v, sum).
template <class T, class C, class F> __device__ void scores(const Texts<T, C>& texts, f32* out, F done) {
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
    if (threadIdx.x % 32 == 0 && j < some) out[u64(first + j) * texts.n + v] = done(first + j, v, sum);
  }
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
