// A stable sort of numbered keys, by digits of 8 bits from the lowest. For each digit: count by block, add up over blocks,
// and move to the place found. The place follows from counts alone, never from who came first, so equal calls give equal
// orders. Not yet run on a device.
#pragma once
#include "reduce.cuh"

constexpr u32 SORT_BLOCK = 2048, SORT_BINS = 256;

// counts[digit][block]
__device__ inline void sort_count(const u32* keys, u32* counts, u32 count, u32 shift) {
  LATENS_SHARED(u32, bins);
  for (u32 i = threadIdx.x; i < SORT_BINS; i += blockDim.x) bins[i] = 0;
  __syncthreads();
  u32 begin = blockIdx.x * SORT_BLOCK, end = min(u64(count), u64(begin) + SORT_BLOCK);
  for (u32 i = begin + threadIdx.x; i < end; i += blockDim.x) atomicAdd(&bins[keys[i] >> shift & 255], 1u);
  __syncthreads();
  for (u32 i = threadIdx.x; i < SORT_BINS; i += blockDim.x) counts[u64(i) * gridDim.x + blockIdx.x] = bins[i];
}

// One block: each count becomes the sum of those before it.
__device__ inline void sort_scan(u32* counts, u32 count) {
  constexpr u32 EACH = 8;
  u32 before = 0;
  for (u64 begin = 0; begin < count; begin += blockDim.x * EACH) {
    u64 first = begin + threadIdx.x * EACH;
    u32 sum = 0, all;
    for (u32 i = 0; i < EACH; ++i) sum += first + i < count ? counts[first + i] : 0;
    sum = before + block_scan(sum, all);
    before += all;
    for (u32 i = 0; i < EACH && first + i < count; ++i) {
      u32 mine = counts[first + i];
      counts[first + i] = sum;
      sum += mine;
    }
  }
}

// One block of 256: its keys, 256 in turn. Lanes of equal digit find each other by ballots; warps by their counts.
__device__ inline void sort_move(const u32* keys, const u32* items, const u32* counts, u32* to_keys, u32* to_items,
                                  u32 count, u32 shift) {
  LATENS_SHARED(u32, next);            // [256]: where the next key of a digit goes
  u32* of_warp = next + SORT_BINS;     // [8][256]
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, begin = blockIdx.x * SORT_BLOCK;
  next[threadIdx.x] = counts[u64(threadIdx.x) * gridDim.x + blockIdx.x];
  for (u32 turn = 0; turn < SORT_BLOCK; turn += 256) {
    for (u32 w = 0; w < 8; ++w) of_warp[w * SORT_BINS + threadIdx.x] = 0;
    __syncthreads();
    u64 at = u64(begin) + turn + threadIdx.x;
    bool is = at < count;
    u32 key = is ? keys[at] : 0, digit = key >> shift & 255, peers = __ballot_sync(~0u, is);
    for (u32 bit = 0; bit < 8; ++bit) {
      u32 set = __ballot_sync(~0u, digit >> bit & 1);
      peers &= digit >> bit & 1 ? set : ~set;
    }
    u32 rank = __popc(peers & ((1u << lane) - 1));
    if (is && rank == 0) of_warp[warp * SORT_BINS + digit] = __popc(peers);
    __syncthreads();
    if (is) {
      u32 to = next[digit] + rank;
      for (u32 w = 0; w < warp; ++w) to += of_warp[w * SORT_BINS + digit];
      to_keys[to] = key;
      to_items[to] = items[at];
    }
    __syncthreads();
    for (u32 w = 0; w < 8; ++w) next[threadIdx.x] += of_warp[w * SORT_BINS + threadIdx.x];
  }
}
