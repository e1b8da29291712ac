// linear: dense products of any strides, and column sums. Contract: mod.rs. Geometry: launch.rs.
//
//   a block makes 64 x 64 entries of out, a thread 4 x 4 of them in registers
//   for every 16 terms of the sum: both inputs to shared memory as f32, barrier, 16 outer products, barrier
//   the terms of a sum are added in their order, so nothing depends on the grid
//
// Not yet run on a device.
#include "latens.cuh"

constexpr u32 TILE = 64, DEPTH = 16, PITCH = TILE + 4;

// to[c][i] = from[(first + i) * down + (begin + c) * across], zero past the ends. Neighbouring threads read neighbours.
template <class T>
__device__ void stage(f32* to, const T* from, u32 first, u32 count, u32 begin, u32 k, u64 down, u64 across) {
  for (u32 e = threadIdx.x; e < TILE * DEPTH; e += blockDim.x) {
    u32 i = across == 1 ? e / DEPTH : e % TILE, c = across == 1 ? e % DEPTH : e / TILE;
    bool inside = i < count - first && c < k - begin;
    to[c * PITCH + i] = inside ? to_f32(from[u64(first + i) * down + u64(begin + c) * across]) : 0.0f;
  }
}

template <class T, class O>
__device__ void product(const T* a, const T* b, const f32* bias, O* out, u32 m, u32 n, u32 k, u64 a_down, u64 a_across,
                        u64 b_down, u64 b_across, u32 add) {
  LATENS_SHARED(f32, sides);
  f32 *of_a = sides, *of_b = sides + DEPTH * PITCH;
  u32 wide = (n + TILE - 1) / TILE, top = blockIdx.x / wide * TILE, left = blockIdx.x % wide * TILE;
  u32 row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  f32 sum[4][4] = {};
  for (u32 begin = 0; begin < k; begin += DEPTH) {
    stage(of_a, a, top, m, begin, k, a_down, a_across);
    stage(of_b, b, left, n, begin, k, b_across, b_down);
    __syncthreads();
    for (u32 c = 0; c < DEPTH; ++c)
      for (u32 i = 0; i < 4; ++i)
        for (u32 j = 0; j < 4; ++j) sum[i][j] += of_a[c * PITCH + row + i] * of_b[c * PITCH + column + j];
    __syncthreads();
  }
  for (u32 i = 0; i < 4 && top + row + i < m; ++i)
    for (u32 j = 0; j < 4 && left + column + j < n; ++j) {
      O* to = out + u64(top + row + i) * n + left + column + j;
      f32 result = sum[i][j] + (bias ? bias[left + column + j] : 0.0f);
      *to = from_f32<O>(add ? to_f32(*to) + result : result);
    }
}

// A block sums 32 columns: 8 threads a column, rows in turn, then the eight in order.
template <class T>
__device__ void columns(const T* dy, f32* db, u32 m, u32 n, u64 stride, u32 add) {
  __shared__ f32 parts[256];
  u32 column = blockIdx.x * 32 + threadIdx.x % 32;
  f32 sum = 0;
  if (column < n)
    for (u32 row = threadIdx.x / 32; row < m; row += 8) sum += to_f32(dy[row * stride + column]);
  parts[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= 32 || column >= n) return;
  for (u32 part = 1; part < 8; ++part) sum += parts[part * 32 + threadIdx.x];
  db[column] = add ? db[column] + sum : sum;
}

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(linear_product_##T, 256, const T* a, const T* b, const f32* bias, T* out, u32 m, u32 n, u32 k,          \
               u64 a_down, u64 a_across, u64 b_down, u64 b_across, u32 add) {                                          \
    product(a, b, bias, out, m, n, k, a_down, a_across, b_down, b_across, add);                                        \
  }                                                                                                                    \
  LATENS_ENTRY(linear_gradient_##T, 256, const T* a, const T* b, const f32* bias, f32* out, u32 m, u32 n, u32 k,       \
               u64 a_down, u64 a_across, u64 b_down, u64 b_across, u32 add) {                                          \
    product(a, b, bias, out, m, n, k, a_down, a_across, b_down, b_across, add);                                        \
  }                                                                                                                    \
  LATENS_ENTRY(linear_columns_##T, 256, const T* dy, f32* db, u32 m, u32 n, u64 stride, u32 add) {                     \
    columns(dy, db, m, n, stride, add);                                                                                \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
