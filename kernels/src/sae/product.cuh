// A tile of 128 x 128 dot products: rows of x against rows of w_enc, both with neighbouring columns in memory.
//
//   stages  columns arrive 64 bytes a row at a time by cp.async, three stages in shared memory, 80 bytes apart, so that
//           neither the 16-byte reads of f32 nor ldmatrix meet a bank twice
//   f32     a thread owns 8 x 8 sums, 16 rows and 16 columns apart, by fmaf in order of columns
//   16 bit  a warp owns 64 x 32 sums as 4 x 4 mma.m16n8k16 with f32 sums
//
// Rows that are not 16-byte aligned are brought one number at a time. floor: 2 * 128 * 128 * dim flops.
#pragma once
#include "vector.cuh"

constexpr u32 TILE = 128, THREADS = 256, NONE = 0xffffffff;

template <class T> struct Product {
  static constexpr u32 WIDTH = 64 / sizeof(T), PITCH = 80 / sizeof(T), STAGES = 3;
  static constexpr u32 STAGE = 2 * TILE * PITCH, BYTES = STAGES * STAGE * sizeof(T);
  f32 sum[64];

  // Where sum[i] belongs.
  __device__ static u32 row(u32 i);
  __device__ static u32 column(u32 i);
  // Add a stage of columns.
  __device__ void add(const T* a, const T* b);

  // row(r): where row r begins, or null. dim numbers of it are brought from column k on, then zeros.
  template <class Row>
  __device__ static void bring(T* to, Row row, u32 k, u32 dim) {
    for (u32 i = threadIdx.x; i < TILE * 4; i += THREADS) {
      constexpr u32 N = 16 / sizeof(T);
      const T* from = row(i / 4);
      u32 column = k + i % 4 * N, left = from && column < dim ? dim - column : 0;
      T* at = to + i / 4 * PITCH + i % 4 * N;
      if (left == 0 || aligned16(from)) {
        ptx_cp_async(at, left ? static_cast<const void*>(from + column) : to, left < N ? left * sizeof(T) : 16);
      } else {
        for (u32 j = 0; j < N; ++j) at[j] = j < left ? from[column + j] : from_f32<T>(0);
      }
    }
  }

  // The whole tile. Barriers inside; the caller's barrier must follow before `stages` is used for anything else.
  template <class A, class B>
  __device__ void run(T* stages, A a, B b, u32 dim) {
#pragma unroll
    for (u32 i = 0; i < 64; ++i) sum[i] = 0;
    u32 steps = (dim + WIDTH - 1) / WIDTH;
    auto fetch = [&](u32 step) {
      if (step < steps) {
        T* stage = stages + step % STAGES * STAGE;
        bring(stage, a, step * WIDTH, dim);
        bring(stage + TILE * PITCH, b, step * WIDTH, dim);
      }
      ptx_cp_async_commit();
    };
    fetch(0);
    fetch(1);
    for (u32 step = 0; step < steps; ++step) {
      ptx_cp_async_wait<1>();
      __syncthreads();  // this stage is here for all, and all are done with the one that is fetched next
      fetch(step + 2);
      const T* stage = stages + step % STAGES * STAGE;
      add(stage, stage + TILE * PITCH);
    }
    ptx_cp_async_wait<0>();
  }
};

// ---- f32: thread t has rows t / 16 + 16 i and columns t % 16 + 16 j ----
template <> __device__ inline u32 Product<f32>::row(u32 i) { return threadIdx.x / 16 + i / 8 * 16; }
template <> __device__ inline u32 Product<f32>::column(u32 i) { return threadIdx.x % 16 + i % 8 * 16; }
template <> __device__ inline void Product<f32>::add(const f32* a, const f32* b) {
#pragma unroll 1
  for (u32 k = 0; k < WIDTH; k += 4) {
    Pack<f32> x[8];
#pragma unroll
    for (u32 i = 0; i < 8; ++i) x[i] = load16(a + row(8 * i) * PITCH + k);
#pragma unroll
    for (u32 j = 0; j < 8; ++j) {
      Pack<f32> y = load16(b + column(j) * PITCH + k);
#pragma unroll
      for (u32 i = 0; i < 8; ++i)
#pragma unroll
        for (u32 l = 0; l < 4; ++l) sum[8 * i + j] = __fmaf_rn(x[i].x[l], y.x[l], sum[8 * i + j]);
    }
  }
}

// ---- 16 bit: warp w has rows 64 (w / 4) and columns 32 (w % 4); sum[(4 m + n) 4 + e] is e of mma m, n ----
__device__ inline u32 mma_row(u32 i) { return threadIdx.x / 128 * 64 + i / 16 * 16 + i % 4 / 2 * 8 + threadIdx.x % 32 / 4; }
__device__ inline u32 mma_column(u32 i) {
  return threadIdx.x / 32 % 4 * 32 + i / 4 % 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
}

__device__ inline void mma(f16, f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) { ptx_mma_f16(d, a, b); }
__device__ inline void mma(bf16, f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) { ptx_mma_bf16(d, a, b); }

template <class T> __device__ inline void mma_add(f32 (&sum)[64], const T* a, const T* b) {
  using P = Product<T>;
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  a += (warp / 4 * 64 + lane % 16) * P::PITCH + lane / 16 * 8;
  b += (warp % 4 * 32 + lane / 16 * 8 + lane % 8) * P::PITCH + lane / 8 % 2 * 8;
#pragma unroll
  for (u32 k = 0; k < P::WIDTH; k += 16) {
    u32 y[4][2];
#pragma unroll
    for (u32 n = 0; n < 4; n += 2) {
      u32 two[4];
      ptx_ldmatrix(two, b + n * 8 * P::PITCH + k);
      y[n][0] = two[0]; y[n][1] = two[1]; y[n + 1][0] = two[2]; y[n + 1][1] = two[3];
    }
#pragma unroll
    for (u32 m = 0; m < 4; ++m) {
      u32 x[4];
      ptx_ldmatrix(x, a + m * 16 * P::PITCH + k);
#pragma unroll
      for (u32 n = 0; n < 4; ++n) mma(T{}, reinterpret_cast<f32(&)[4]>(sum[(4 * m + n) * 4]), x, y[n]);
    }
  }
}

template <> __device__ inline u32 Product<f16>::row(u32 i) { return mma_row(i); }
template <> __device__ inline u32 Product<f16>::column(u32 i) { return mma_column(i); }
template <> __device__ inline void Product<f16>::add(const f16* a, const f16* b) { mma_add(sum, a, b); }
template <> __device__ inline u32 Product<bf16>::row(u32 i) { return mma_row(i); }
template <> __device__ inline u32 Product<bf16>::column(u32 i) { return mma_column(i); }
template <> __device__ inline void Product<bf16>::add(const bf16* a, const bf16* b) { mma_add(sum, a, b); }
