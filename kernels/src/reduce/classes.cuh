// Statistics of the rows of each class. Contract: classes.rs.
//
//   The numbers of rows are sorted by label (sort.cuh, stable; labels of no class come last). Then a block has 32 columns of a
//   class, 8 threads a column, which go over its rows as those of moments.cuh over theirs; what the outputs hold joins first.
//   Counts grow last: the block before reads them as they were.
//
// Not yet run on a device.
#pragma once
#include "moments.cuh"
#include "sort.cuh"

// A thread: a row.
__device__ inline void class_keys(const u32* labels, u32* keys, u32* items, u32 rows, u32 classes) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  keys[i] = min(labels[i], classes);
  items[i] = i;
}

// A thread: a class, or `most`. starts[key] is the first place whose key is not smaller.
__device__ inline void class_starts(const u32* keys, u32* starts, u32 count, u32 most) {
  u32 key = blockIdx.x * blockDim.x + threadIdx.x, low = 0, high = count;
  if (key > most) return;
  while (low < high) {
    u32 middle = low + (high - low) / 2;
    if (keys[middle] < key) low = middle + 1;
    else high = middle;
  }
  starts[key] = low;
}

template <class T>
__device__ void class_moments(const T* x, const u32* items, const u32* starts, const u32* counts, f32* means,
                              f32* squares, u32 n, u64 stride, u32 add) {
  LATENS_SHARED(f32, parts);
  u32 begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  if (begin == end && add) return;
  u32 at = blockIdx.y * 32 + threadIdx.x % 32, lane = threadIdx.x / 32;
  u64 to = u64(blockIdx.x) * n + at;
  f32 from = at < n && begin < end ? anchor(to_f32(x[items[begin] * stride + at])) : 0.0f;
  Moments batch = {0, 0, 0};
  if (at < n) batch = moments_of(begin + lane, end, 8, from, [&](u64 i) { return to_f32(x[items[i] * stride + at]); });
  batch = join_lanes(batch, parts, 8);
  if (lane > 0 || at >= n) return;
  Moments all = {0, 0, 0};
  if (add) all = {f32(counts[blockIdx.x]), means[to] - from, squares[to]};
  bool empty = all.count == 0;
  // Nothing joins exactly: the mean is then the sum of two numbers, rounded once.
  if (empty) all = batch;
  else all.join(batch);
  means[to] = begin == end ? 0.0f : all.square != all.square ? not_a_number() : from + all.mean;
  squares[to] = all.square;
}

// A thread: a class, and one more for the rows of none.
__device__ inline void class_counts(const u32* starts, u32* counts, u32* ignored, u32 rows, u32 classes, u32 add) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i > classes) return;
  u32* to = i < classes ? counts + i : ignored;
  u32 more = (i < classes ? starts[i + 1] : rows) - starts[i], before = add ? *to : 0;
  *to = before + more < before ? ~0u : before + more;
}
