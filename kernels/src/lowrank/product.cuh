// left, right, restore: the products of a step. Contract: mod.rs.
//
//   floor: 12, 4 and 12 bytes an entry in f32; 2 * rank flops an entry each
//
// Products are plain multiplications and additions, each sum in the order of its terms by one thread.
#pragma once
#include "matrix.cuh"

constexpr u32 TILE = 64, STEP = 32, WIDE = STEP + 1;  // rows of a tile, terms at a time, and apart in shared memory
constexpr u32 EACH = 8;                               // rows of a thread; a warp shares them, a lane is a column

// sums[i] += x[row of i][c] * y[c][lane] for the terms of one step; both tiles lie in shared memory.
template <u32 COUNT>
__device__ inline void add_products(f32 (&sums)[COUNT], const f32* x, const f32* y, u32 apart) {
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (u32 c = 0; c < STEP; ++c) {
    f32 other = y[c * apart + lane];
#pragma unroll
    for (u32 i = 0; i < COUNT; ++i) sums[i] = fmaf(x[(warp * COUNT + i) * WIDE + c], other, sums[i]);
  }
}

__device__ inline void clear(u32* dropped, u32 count) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) dropped[i] = 0;
}

// One block: 64 rows of one matrix.
//   fold      with the first 32 columns of Q: e += g where that is finite, tile by tile
//   multiply  the tile by 32 rows of Q; what is past the edge is 0
//   again     for the next 32 columns of Q, from e
template <class T>
__device__ void left(const u32* table, const T* g, f32* e, const f32* q, f32* p, u32* dropped, u64 span, u32 rank) {
  LATENS_SHARED(f32, a);
  f32* b = a + TILE * WIDE;
  Matrix m = matrix_of(table, blockIdx.y, span);
  u64 rows = m.segment.rows, columns = m.segment.columns, top = u64(blockIdx.x) * TILE;
  if (top >= rows) return;
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, lost = 0;
  for (u32 first = 0; first == 0 || first < rank; first += 32) {
    f32 sums[EACH] = {};
    for (u64 start = 0; start < columns; start += STEP) {
      u64 c = start + lane;
      for (u32 r = warp; r < TILE; r += blockDim.x / 32) {
        bool inside = top + r < rows && c < columns;
        u64 at = m.segment.start + (top + r) * columns + c;
        f32 x = inside ? e[at] : 0;
        if (inside && first == 0) {
          f32 sum = __fadd_rn(to_f32(g[at]), x);
          bool good = fabsf(sum) < infinity();
          x = good ? sum : x;
          lost += !good;
          e[at] = x;
        }
        a[r * WIDE + lane] = x;
      }
      for (u32 r = warp; r < STEP; r += blockDim.x / 32)
        b[r * 32 + lane] = start + r < columns && first + lane < rank ? q[(m.column + start + r) * rank + first + lane] : 0;
      __syncthreads();
      add_products(sums, a, b, 32);
      __syncthreads();
    }
    for (u32 i = 0; i < EACH; ++i) {
      u64 r = top + warp * EACH + i;
      if (r < rows && first + lane < rank) p[(m.row + r) * rank + first + lane] = sums[i];
    }
  }
  lost = block_sum(lost);
  if (threadIdx.x == 0 && lost) atomicAdd(&dropped[blockIdx.y], lost);
}

// One block: 64 columns of one matrix by 32 columns of P, over all rows in order.
__device__ inline void right(const u32* table, const f32* e, const f32* p, f32* q, u64 span, u32 rank) {
  LATENS_SHARED(f32, a);
  f32* b = a + TILE * WIDE;
  Matrix m = matrix_of(table, blockIdx.y, span);
  u32 parts = (rank + 31) / 32, first = blockIdx.x % parts * 32;
  u64 rows = m.segment.rows, columns = m.segment.columns, start = u64(blockIdx.x / parts) * TILE;
  if (start >= columns) return;
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  f32 sums[EACH] = {};
  for (u64 top = 0; top < rows; top += STEP) {
    for (u32 i = threadIdx.x; i < TILE * STEP; i += blockDim.x) {
      u32 c = i % TILE, r = i / TILE;
      bool inside = top + r < rows && start + c < columns;
      a[c * WIDE + r] = inside ? e[m.segment.start + (top + r) * columns + start + c] : 0;
    }
    for (u32 r = warp; r < STEP; r += blockDim.x / 32)
      b[r * 32 + lane] = top + r < rows && first + lane < rank ? p[(m.row + top + r) * rank + first + lane] : 0;
    __syncthreads();
    add_products(sums, a, b, 32);
    __syncthreads();
  }
  for (u32 i = 0; i < EACH; ++i) {
    u64 c = start + warp * EACH + i;
    if (c < columns && first + lane < rank) q[(m.column + c) * rank + first + lane] = sums[i];
  }
}

constexpr f32 LARGEST = 3.40282346638528859812e38f;

// One block: 64 rows by 64 columns of one matrix: the product of the factors, what becomes of the gradient, what stays.
template <class T>
__device__ void restore(const u32* table, const f32* p, const f32* q, f32* e, T* y, u64 span, u32 rank, u32 across) {
  LATENS_SHARED(f32, a);
  f32* b = a + TILE * WIDE;
  Matrix m = matrix_of(table, blockIdx.y, span);
  u64 rows = m.segment.rows, columns = m.segment.columns;
  u64 top = u64(blockIdx.x / across) * TILE, start = u64(blockIdx.x % across) * TILE;
  if (top >= rows || start >= columns) return;
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  f32 low[EACH] = {}, high[EACH] = {};
  for (u32 first = 0; first < rank; first += STEP) {
    for (u32 r = warp; r < TILE; r += blockDim.x / 32) {
      bool term = first + lane < rank;
      a[r * WIDE + lane] = term && top + r < rows ? p[(m.row + top + r) * rank + first + lane] : 0;
      b[lane * (TILE + 1) + r] = term && start + r < columns ? q[(m.column + start + r) * rank + first + lane] : 0;
    }
    __syncthreads();
    add_products(low, a, b, TILE + 1);
    add_products(high, a, b + 32, TILE + 1);
    __syncthreads();
  }
  for (u32 i = 0; i < 2 * EACH; ++i) {
    u64 r = top + warp * EACH + i % EACH, c = start + lane + i / EACH * 32;
    if (r >= rows || c >= columns) continue;
    u64 at = m.segment.start + r * columns + c;
    T made = from_f32<T>(i < EACH ? low[i % EACH] : high[i % EACH]);
    if (!(fabsf(to_f32(made)) < infinity())) made = from_f32<T>(0);
    if (y) y[at] = made;
    if (e) {
      f32 rest = __fadd_rn(e[at], -to_f32(made));
      e[at] = rest > LARGEST ? LARGEST : rest < -LARGEST ? -LARGEST : rest;
    }
  }
}
