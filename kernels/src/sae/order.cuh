// order: the slots of a batch sorted by latent, slots of one latent by rising slot. Not yet run on a device.
//
//   keys     each slot's latent (n: empty), and its row
//   digits   for each 8 bits: count by block, add up over blocks, and move to the place found; the place follows from
//            counts alone, never from who came first, so the sort is stable and equal calls give equal orders
//   starts   where each latent begins, by binary search
//
//   floor: (2 + 4 * passes) * 8 * slots bytes
#pragma once
#include "decode.cuh"
#include "sort.cuh"

// The row that has a slot: the last that begins at or before it. Whether there is one, of `count`.
__device__ inline bool row_of(const Slots& slots, u32 slot, u32 count, u32& row) {
  u32 low = 0, high = count;
  if (!slots.offsets) low = slot / slots.width;
  else
    while (high - low > 1) {
      u32 middle = low + (high - low) / 2;
      if (slots.begin(middle) <= slot) low = middle;
      else high = middle;
    }
  row = low;
  return low < count && slots.begin(low) <= slot && slot < slots.end(low);
}

// A thread: a slot. Empty slots get their gradient here, if it is wanted.
__device__ inline void order_keys(const u32* latents, Slots slots, u32* keys, u32* items, u32* rows, f32* dvalues, u32 count,
                                  u32 n) {
  u32 slot = blockIdx.x * blockDim.x + threadIdx.x, row;
  if (slot >= slots.slots) return;
  bool is = row_of(slots, slot, count, row) && latents[slot] < n;
  keys[slot] = is ? latents[slot] : n;
  items[slot] = slot;
  rows[slot] = row;
  if (!is && dvalues) dvalues[slot] = 0;
}

// A thread: a latent, or n. starts[latent] is the first place whose key is not smaller.
__device__ inline void order_starts(const u32* keys, u32* starts, u32 slots, u32 n) {
  u32 latent = blockIdx.x * blockDim.x + threadIdx.x, low = 0, high = slots;
  if (latent > n) return;
  while (low < high) {
    u32 middle = low + (high - low) / 2;
    if (keys[middle] < latent) low = middle + 1;
    else high = middle;
  }
  starts[latent] = low;
}
