// Exact selection and sorting of 64-bit entries that differ from each other, by one warp or by one block.
// All of it counts and compares integers, so neither schedule nor device can change a result.
#pragma once
#include "latens.cuh"

// Ranks as (larger order, then smaller index) do. 0 is no entry and ranks last: an index is below 2^32 - 1.
__device__ inline u64 entry(u32 order, u32 index) { return u64(order) << 32 | u32(~index); }
__device__ inline u32 entry_order(u64 e) { return u32(e >> 32); }
__device__ inline u32 entry_index(u64 e) { return ~u32(e); }

// Who works together. BITS: the digit it counts at once, over 2^BITS bins of shared memory.
struct Warp {
  static constexpr u32 BITS = 8;
  __device__ static u32 rank() { return threadIdx.x % 32; }
  __device__ static u32 size() { return 32; }
  __device__ static void sync() { __syncwarp(); }
};
struct Block {
  static constexpr u32 BITS = 11;
  __device__ static u32 rank() { return threadIdx.x; }
  __device__ static u32 size() { return blockDim.x; }
  __device__ static void sync() { __syncthreads(); }
};

// The bin that holds the need-th entry, counted from the last bin down (width a power of two). need becomes the rank
// inside that bin, inside its size. Every warp finds the same; fewer than `need` entries: false, nothing changes.
template <class C>
__device__ bool pick(const C* bins, u32 width, u32& bin, C& need, C& inside) {
  u32 lane = threadIdx.x % 32, first = 0;
  while (width > 1) {
    u32 part = (width + 31) / 32;
    C mine = 0;
    for (u32 j = 0; j < part; ++j) {  // each lane starts elsewhere, so that no two ask one bank
      u32 at = lane * part + ((j + lane) & (part - 1));
      if (at < width) mine += bins[first + at];
    }
    C sum = mine;  // of this lane and those above
    for (u32 step = 1; step < 32; step *= 2) {
      C other = __shfl_down_sync(~0u, sum, step);
      if (lane + step < 32) sum += other;
    }
    u32 owner = __ffs(__ballot_sync(~0u, sum - mine < need && need <= sum));
    if (!owner) return false;
    need -= __shfl_sync(~0u, sum - mine, owner - 1);
    inside = __shfl_sync(~0u, mine, owner - 1);
    first += (owner - 1) * part;
    width = part;
  }
  bin = first;
  return true;
}

// A bound that exactly k of the `count` entries key(0..count) reach; 0 if there are no more than k. 0 < k.
template <class Team, class Key>
__device__ u64 bound_of(Team team, Key key, u32 count, u32 k, u32* bins) {
  if (k >= count) return 0;
  u64 bound = 0;
  u32 need = k, inside = count;
  for (u32 top = 64; top > 0 && inside != need;) {
    u32 bits = top < Team::BITS ? top : Team::BITS, low = top - bits, bin = 0;
    for (u32 i = team.rank(); i < 1u << bits; i += team.size()) bins[i] = 0;
    team.sync();
    for (u32 i = team.rank(); i < count; i += team.size()) {
      u64 e = key(i);
      if (top == 64 || e >> top == bound >> top) atomicAdd(&bins[u32(e >> low) & ((1u << bits) - 1)], 1u);
    }
    team.sync();
    pick(bins, 1u << bits, bin, need, inside);
    bound |= u64(bin) << low;
    team.sync();
    top = low;
  }
  return bound;
}

// Sort, larger first: a bitonic network whose first step of each run is mirrored, so that every pair compares the same
// way and what lies past the end counts as smallest.
template <class Team>
__device__ void sort(Team team, u64* list, u32 count) {
  for (u32 run = 1; run < count; run *= 2)
    for (u32 step = run; step > 0; step /= 2) {
      for (u32 i = team.rank();; i += team.size()) {
        u32 low = i & (step - 1), a = 2 * i - low, b = step == run ? a + 2 * (step - low) - 1 : a + step;
        if (a >= count) break;
        u64 x = list[a], y = b < count ? list[b] : 0;
        if (x < y) { list[a] = y; list[b] = x; }
      }
      team.sync();
    }
}

// ---- the cut of a flat batch: the total-th largest 32-bit order, found by three grid-wide counts of digits ----
constexpr u32 CUT_PASSES = 3, CUT_BINS = 2048;
__device__ inline u32 cut_low(u32 pass) { return pass == 0 ? 21 : pass == 1 ? 10 : 0; }

// Entries above `order` are in; of those equal to it, the first `need` in row order.
struct Cut { u64 order, need; };

// What the counts of the first `passes` digits say. Fewer than `total` entries: all are in.
__device__ inline Cut cut_of(const u64* bins, u32 passes, u64 total) {
  if (total == 0) return {~0u, 0};
  Cut cut = {0, total};
  for (u32 pass = 0; pass < passes; ++pass) {
    u32 bin = 0;
    u64 inside;
    if (!pick(bins + pass * CUT_BINS, CUT_BINS, bin, cut.need, inside)) return {0, ~0ull};
    cut.order |= u64(bin) << cut_low(pass);
  }
  return cut;
}

// Whether `order` counts in digit `pass`, and where.
__device__ inline bool cut_counts(const Cut& cut, u32 pass, u32 order, u32& bin) {
  u32 low = cut_low(pass), top = pass ? cut_low(pass - 1) : 32;
  bin = order >> low & ((1u << (top - low)) - 1);
  return pass == 0 || order >> top == u32(cut.order >> top);
}
