// orthogonalise, resize: what becomes of factors alone. Contract: mod.rs, factor.rs.
//
//   floor of orthogonalise: 8 * rows * rank bytes, which stay in the second-level cache between its passes
//
// One block, one matrix. All that is summed is f64, in an order that the sizes alone decide; no product is fused with a sum,
// so that the host gets the same bits.
#pragma once
#include "matrix.cuh"
#include "philox.cuh"

typedef double f64;

constexpr u32 SLAB = 256;  // rows whose products are summed first: twin of mod.rs

// The square root as kernels/src/math.rs makes it, for numbers that are not tiny.
__device__ inline f64 root_of(f64 x) {
  union { f64 number; u64 bits; } y = {x};
  y.bits = (y.bits >> 1) + (1023ull << 51);
  for (u32 i = 0; i < 5; ++i) y.number = __dmul_rn(0.5, __dadd_rn(y.number, __ddiv_rn(x, y.number)));
  return y.number;
}

__device__ inline f32 draw(u64 seed, u32 matrix, u32 attempt, u32 row, u32 column) {
  return f32(philox(seed, row, column, matrix, attempt).x[0] >> 8) / f32(1 << 23) - 1.0f;
}

// Lower half of the products of columns. While pairs are few, several slabs at once, joined in order.
__device__ inline void gram(const f32* p, u64 rows, u32 rank, f64* s, f64* parts) {
  u32 pairs = rank * (rank + 1) / 2, together = pairs < blockDim.x ? blockDim.x / pairs : 1;
  for (u32 pair = threadIdx.x % (pairs < blockDim.x ? pairs : blockDim.x); pair < pairs; pair += blockDim.x) {
    u32 i = 0;
    while ((i + 1) * (i + 2) / 2 <= pair) ++i;
    u32 j = pair - i * (i + 1) / 2, phase = together > 1 ? threadIdx.x / pairs : 0;
    f64 sum = 0;
    for (u64 top = 0; top < rows; top += u64(together) * SLAB) {
      f64 part = 0;
      u64 begin = top + u64(phase) * SLAB, end = begin + SLAB < rows ? begin + SLAB : rows;
      if (phase < together)
        for (u64 r = begin; r < end; ++r) part = __dadd_rn(part, __dmul_rn(p[r * rank + i], p[r * rank + j]));
      if (together == 1) {
        sum = __dadd_rn(sum, part);
        continue;
      }
      parts[threadIdx.x] = part;
      __syncthreads();
      if (phase == 0)
        for (u32 t = 0; t < together && top + u64(t) * SLAB < rows; ++t) sum = __dadd_rn(sum, parts[t * pairs + pair]);
      __syncthreads();
    }
    if (phase == 0) s[i * rank + j] = sum;
  }
  __syncthreads();
}

// Twin of factor.rs. Whether a column is deficient, w says; the least relative squared length of the others comes back.
__device__ inline f64 factor(f64* s, f64* w, f64* scale, u32 rank, u32& deficient) {
  f64 least = 1;
  deficient = 0;
  for (u32 j = threadIdx.x; j < rank; j += blockDim.x) {
    f64 square = s[j * rank + j];
    scale[j] = square > 0 ? __ddiv_rn(1, root_of(square)) : 0;
  }
  __syncthreads();
  for (u32 at = threadIdx.x; at < rank * rank; at += blockDim.x) {
    u32 i = at / rank, j = at % rank;
    if (j <= i) s[at] = __dmul_rn(__dmul_rn(s[at], scale[i]), scale[j]);
    w[at] = 0;
  }
  __syncthreads();
  for (u32 j = 0; j < rank; ++j) {
    f64 pivot = s[j * rank + j];
    bool good = pivot > 1e-12;
    f64 root = good ? root_of(pivot) : 0;
    deficient += !good;
    if (good && pivot < least) least = pivot;
    __syncthreads();  // all have read the pivot
    for (u32 i = j + threadIdx.x; i < rank; i += blockDim.x)
      s[i * rank + j] = i == j ? root : good ? __ddiv_rn(s[i * rank + j], root) : 0;
    __syncthreads();
    u32 side = rank - j - 1;
    for (u32 at = threadIdx.x; at < side * side; at += blockDim.x) {
      u32 i = j + 1 + at / side, k = j + 1 + at % side;
      if (k <= i) s[i * rank + k] = __dadd_rn(s[i * rank + k], -__dmul_rn(s[i * rank + j], s[k * rank + j]));
    }
    __syncthreads();
  }
  for (u32 j = threadIdx.x; j < rank; j += blockDim.x)
    for (u32 i = j; i < rank; ++i) {
      f64 sum = i == j ? 1 : 0, root = s[i * rank + i];
      for (u32 k = j; k < i; ++k) sum = __dadd_rn(sum, -__dmul_rn(s[i * rank + k], w[j * rank + k]));
      w[j * rank + i] = root > 0 ? __ddiv_rn(sum, root) : 0;
    }
  __syncthreads();
  for (u32 at = threadIdx.x; at < rank * rank; at += blockDim.x) w[at] = __dmul_rn(w[at], scale[at / rank]);
  __syncthreads();
  return least;
}

// p = p w: a warp takes a row; entries from the last on, so that those still to be read are there.
__device__ inline void transform(f32* p, u64 rows, u32 rank, const f64* w) {
  u32 lane = threadIdx.x % 32;
  for (u64 r = threadIdx.x / 32; r < rows; r += blockDim.x / 32) {
    f32* row = p + r * rank;
    for (u32 part = (rank + 31) / 32; part-- > 0;) {
      u32 j = part * 32 + lane;
      f64 sum = 0;
      for (u32 k = 0; j < rank && k <= j; ++k) sum = __dadd_rn(sum, __dmul_rn(row[k], w[k * rank + j]));
      __syncwarp();
      if (j < rank) row[j] = f32(sum);
      __syncwarp();
    }
  }
  __syncthreads();
}

__device__ inline void orthogonalise(const u32* table, f32* p, f64* scratch, u64 span, u32 rank, u64 seed) {
  LATENS_SHARED(f64, memory);
  Matrix m = matrix_of(table, blockIdx.x, span);
  u64 rows = m.segment.rows;
  p += m.row * rank;
  f64* s = scratch ? scratch + u64(blockIdx.x) * (2 * rank * rank + rank + blockDim.x) : memory;
  f64 *w = s + rank * rank, *scale = w + rank * rank, *parts = scale + rank;
  u32 wrong = 0;
  for (u64 i = threadIdx.x; i < rows * rank; i += blockDim.x) wrong += !(fabsf(p[i]) < infinity());
  if (block_sum(wrong)) {
    for (u64 i = threadIdx.x; i < rows * rank; i += blockDim.x) p[i] = 0;
    return;
  }
  for (u32 attempt = 0, passes = 0; passes < 2;) {
    u32 deficient;
    gram(p, rows, rank, s, parts);
    f64 least = factor(s, w, scale, rank, deficient);
    if (deficient && attempt < 2) {
      for (u64 i = threadIdx.x; i < rows * rank; i += blockDim.x) {
        u32 k = u32(i % rank);
        if (w[k * rank + k] == 0) p[i] = draw(seed, blockIdx.x, attempt, u32(i / rank), k);
      }
      ++attempt;
    } else {
      transform(p, rows, rank, w);
      passes += least >= 1e-6 ? 2 : 1;
    }
    __syncthreads();
  }
}

// One block: one matrix. A column stays if fewer than `rank` are longer, or as long and before it; its place is the number
// of those before it that stay.
__device__ inline void resize(const u32* table, const f32* from, f32* q, u64 span, u32 old, u32 rank, u64 seed) {
  LATENS_SHARED(f64, squares);
  u32* stays = reinterpret_cast<u32*>(squares + old);
  Matrix m = matrix_of(table, blockIdx.x, span);
  from += m.column * old;
  q += m.column * rank;
  for (u32 k = threadIdx.x; k < old; k += blockDim.x) {
    f64 sum = 0;
    for (u64 r = 0; r < m.segment.columns; ++r) sum = __dadd_rn(sum, __dmul_rn(from[r * old + k], from[r * old + k]));
    squares[k] = sum == sum ? sum : -1;
  }
  __syncthreads();
  for (u32 k = threadIdx.x; k < old; k += blockDim.x) {
    u32 ahead = 0;
    for (u32 other = 0; other < old; ++other)
      ahead += squares[other] > squares[k] || (squares[other] == squares[k] && other < k);
    stays[k] = ahead < rank;
  }
  __syncthreads();
  u32 kept = old < rank ? old : rank;
  for (u32 k = threadIdx.x; k < old; k += blockDim.x) {
    u32 to = 0;
    for (u32 other = 0; other < k; ++other) to += stays[other];
    if (stays[k])
      for (u64 r = 0; r < m.segment.columns; ++r) q[r * rank + to] = from[r * old + k];
  }
  for (u64 r = threadIdx.x; r < m.segment.columns; r += blockDim.x)
    for (u32 k = kept; k < rank; ++k) q[r * rank + k] = draw(seed, blockIdx.x, 2, u32(r), k);
}
