// Kernels that are wrong on purpose; emulator.rs expects each to be caught.
#include "latens.cuh"

// A barrier is missing: each thread reads what its neighbour was to write.
LATENS_ENTRY(wrong_no_barrier, 64, u32* y) {
  LATENS_SHARED(u32, tile);
  tile[threadIdx.x] = threadIdx.x;
  y[threadIdx.x] = tile[threadIdx.x ^ 1];
}

LATENS_ENTRY(right_barrier, 64, u32* y) {
  LATENS_SHARED(u32, tile);
  tile[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x ^ 1];
}

// Half of a warp waits for the block, the other half for the warp.
LATENS_ENTRY(wrong_divergent_barrier, 32, u32* y) {
  if (threadIdx.x < 16) __syncthreads();
  else y[0] = __ballot_sync(~0u, 1);
}

LATENS_ENTRY(wrong_mask, 32, u32* y) { y[threadIdx.x] = __ballot_sync(1, 1); }

LATENS_ENTRY(wrong_masks_differ, 32, u32* y) {
  y[threadIdx.x] = __ballot_sync(threadIdx.x == 3 ? 0xffu : ~0u, 1);
}

LATENS_ENTRY(wrong_returned_lane, 32, u32* y) {
  if (threadIdx.x == 7) return;
  y[threadIdx.x] = __shfl_xor_sync(~0u, threadIdx.x, 1);
}

LATENS_ENTRY(wrong_operations_meet, 32, u32* y) {
  y[threadIdx.x] = threadIdx.x % 2 ? __ballot_sync(~0u, 1) : __shfl_sync(~0u, 1u, 0);
}

// The copy is not waited for.
LATENS_ENTRY(wrong_no_wait, 32, const u32* x, u32* y) {
  LATENS_SHARED(u32, tile);
  if (threadIdx.x == 0) ptx_cp_async(tile, x);
  ptx_cp_async_commit();
  __syncthreads();
  if (threadIdx.x < 4) y[threadIdx.x] = tile[threadIdx.x];
}

LATENS_ENTRY(wrong_unaligned_copy, 32, const u32* x, u32* y) {
  LATENS_SHARED(u32, tile);
  ptx_cp_async(tile, x + 1);
}

// A loop that waits for another thread of the block.
LATENS_ENTRY(right_wait, 64, volatile u32* y) {
  if (threadIdx.x == 0) while (y[0] != 63) __nanosleep(1);
  if (threadIdx.x == 63) y[0] = 63;
}

// One past the end: for the address sanitizer.
LATENS_ENTRY(wrong_past_the_end, 32, u32* y, u32 n) { y[n] = 0; }

LATENS_ENTRY(right_sizes, 32, u32* y, u32 a, u64 b, f32 c) { y[0] = a + u32(b) + u32(c); }
