// incidence: pairs sorted and merged, and an incidence turned over. Contract: incidence.rs. Geometry:
// launch/incidence.rs. Not yet run on a device.
//
//   build      sort numbers of pairs by column, then by row (stable, so equal pairs stay in the order they came in);
//              a pair that differs from the one before it begins an entry; count those by block, add up, write
//   transpose  sort numbers of entries by column; each finds its row by binary search
//
//   floor: 16 bytes a pair for each 8 bits of a row's and of a column's number, and 20 for the entries
#pragma once
#include "sort.cuh"

typedef signed char i8;

// An incidence, of which nothing is believed.
struct Rows {
  const u32 *offsets, *members, *places;
  u32 rows, columns, entries;
  __device__ u32 begin(u32 r) const { return min(offsets[r], entries); }
  __device__ u32 end(u32 r) const { return max(begin(r), min(offsets[r + 1], entries)); }
  __device__ u32 count() const { return min(offsets[rows], entries); }
  // The column and the number of entry i; false if there is no such.
  __device__ bool find(u32 i, u32& column, u32& number) const {
    column = members[i];
    number = places ? places[i] : i;
    return column < columns && number < entries;
  }
  // The row of entry i: the last that begins at or before it.
  __device__ u32 row(u32 i) const {
    u32 low = 0, high = rows;
    while (high - low > 1) {
      u32 middle = low + (high - low) / 2;
      if (begin(middle) <= i) low = middle;
      else high = middle;
    }
    return low;
  }
};

// The first place whose key is not smaller.
__device__ inline u32 lower_bound(const u32* keys, u32 count, u32 key) {
  u32 low = 0, high = count;
  while (low < high) {
    u32 middle = low + (high - low) / 2;
    if (keys[middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

struct Pairs {
  const u32 *row, *column;
  u32 rows, columns, count;
  __device__ bool is(u32 i) const { return row[i] < rows && column[i] < columns; }
};

// A thread: a pair. keys[i] = its column.
__device__ inline void pairs_by_column(const Pairs& pairs, u32* keys, u32* items) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= pairs.count) return;
  keys[i] = pairs.is(i) ? pairs.column[i] : pairs.columns;
  items[i] = i;
}

// A thread: a place in the order by column. keys[i] = the row of the pair there.
__device__ inline void pairs_by_row(const Pairs& pairs, u32* keys, const u32* items) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < pairs.count) keys[i] = pairs.is(items[i]) ? pairs.row[items[i]] : pairs.rows;
}

// Whether place i begins an entry. keys: rows in order.
__device__ inline bool begins(const Pairs& pairs, const u32* keys, const u32* items, u32 i) {
  if (i >= pairs.count || keys[i] >= pairs.rows) return false;
  return i == 0 || keys[i - 1] != keys[i] || pairs.column[items[i - 1]] != pairs.column[items[i]];
}

// A block: entries among its 2048 places.
__device__ inline void pairs_count(const Pairs& pairs, const u32* keys, const u32* items, u32* counts) {
  u32 sum = 0;
  for (u32 j = threadIdx.x; j < SORT_BLOCK; j += blockDim.x) sum += begins(pairs, keys, items, blockIdx.x * SORT_BLOCK + j);
  sum = block_sum(sum);
  if (threadIdx.x == 0) counts[blockIdx.x] = sum;
  if (threadIdx.x == 0 && blockIdx.x == 0) counts[gridDim.x] = 0;  // becomes the sum of all
}

// A block: write the entries of its places, and fill what is left over.
__device__ inline void pairs_merge(const Pairs& pairs, const u32* keys, const u32* items, const u32* counts,
                                   const f32* weights, u32* members, u32* row_of, f32* merged) {
  u32 next = counts[blockIdx.x], total = counts[gridDim.x];
  for (u32 j = threadIdx.x; j < SORT_BLOCK; j += blockDim.x) {
    u32 i = blockIdx.x * SORT_BLOCK + j, all;
    bool is = begins(pairs, keys, items, i);
    u32 at = next + block_scan(u32(is), all);
    next += all;
    if (is) {
      members[at] = pairs.column[items[i]];
      row_of[at] = keys[i];
      if (merged) {
        f32 sum = weights[items[i]];
        for (u32 same = i + 1; same < pairs.count && keys[same] == keys[i] && !begins(pairs, keys, items, same); ++same)
          sum += weights[items[same]];
        merged[at] = sum;
      }
    }
    if (i < pairs.count && i >= total) {
      members[i] = pairs.columns;
      row_of[i] = pairs.rows;
      if (merged) merged[i] = 0;
    }
  }
}

// A thread: a row, or one past the last.
__device__ inline void starts(const u32* keys, u32* offsets, u32 count, u32 rows) {
  u32 r = blockIdx.x * blockDim.x + threadIdx.x;
  if (r <= rows) offsets[r] = lower_bound(keys, count, r);
}

// A thread: an entry. keys[i] = its column.
__device__ inline void entries_by_column(const Rows& from, u32* keys, u32* items) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= from.entries) return;
  keys[i] = i < from.count() ? min(from.members[i], from.columns) : from.columns;
  items[i] = i;
}

// A thread: a place in the order by column.
__device__ inline void entries_turned(const Rows& from, const u32* keys, const u32* items, u32* members, u32* places) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= from.entries) return;
  members[i] = keys[i] < from.columns ? from.row(items[i]) : from.rows;
  places[i] = items[i];
}
