// Sums, largest ones and prefix sums over a warp or a block. The order is fixed by the number of threads alone, so
// equal calls give equal bits. The whole warp or block calls; a block has a multiple of 32 threads, at most 1024.
// Each block form holds 32 elements of static shared memory and ends with a barrier, so it may be called again.
#pragma once
#include "latens.cuh"

struct Sum { template <class T> static __device__ T of(T a, T b) { return a + b; } };
// For floats a NaN is dropped, as fmaxf does.
struct Largest { template <class T> static __device__ T of(T a, T b) { return max(a, b); } };
struct Smallest { template <class T> static __device__ T of(T a, T b) { return min(a, b); } };

// F over the lanes; every lane gets the same bits, as F commutes.
template <class F, class T> __device__ inline T warp_fold(T x) {
#pragma unroll
  for (int lanes = 16; lanes; lanes /= 2) x = F::of(x, __shfl_xor_sync(~0u, x, lanes));
  return x;
}

// F over the threads of the block, for all of them. `none` is the neutral element.
template <class F, class T> __device__ inline T block_fold(T x, T none) {
  __shared__ T of_warp[32];
  u32 lane = threadIdx.x % 32, warps = blockDim.x / 32;
  x = warp_fold<F>(x);
  if (lane == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  x = warp_fold<F>(lane < warps ? of_warp[lane] : none);
  __syncthreads();  // of_warp may be written again
  return x;
}

template <class T> __device__ inline T warp_sum(T x) { return warp_fold<Sum>(x); }
template <class T> __device__ inline T warp_max(T x) { return warp_fold<Largest>(x); }
template <class T> __device__ inline T block_sum(T x) { return block_fold<Sum>(x, T(0)); }
__device__ inline f32 block_max(f32 x) { return block_fold<Largest>(x, -infinity()); }
__device__ inline u32 block_max(u32 x) { return block_fold<Largest>(x, 0u); }
__device__ inline u64 block_max(u64 x) { return block_fold<Largest>(x, u64(0)); }

// The sum over the lanes up to this one.
__device__ inline u32 warp_scan(u32 x) {
#pragma unroll
  for (u32 lanes = 1; lanes < 32; lanes *= 2) {
    u32 before = __shfl_up_sync(~0u, x, lanes);
    if (threadIdx.x % 32 >= lanes) x += before;
  }
  return x;
}

// The sum over the threads before this one; `total` is that over all.
__device__ inline u32 block_scan(u32 x, u32& total) {
  __shared__ u32 of_warp[32];
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  u32 up_to = warp_scan(x);
  if (lane == 31) of_warp[warp] = up_to;
  __syncthreads();
  u32 of_warps = warp_scan(lane < warps ? of_warp[lane] : 0);
  u32 before = __shfl_sync(~0u, of_warps, warp ? warp - 1 : 0);
  total = __shfl_sync(~0u, of_warps, 31);
  __syncthreads();  // of_warp may be written again
  return up_to - x + (warp ? before : 0);
}
