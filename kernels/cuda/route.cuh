// Which rows follow one another: sequences packed into one batch entry, and orders to read rows in. Contract:
// kernels/src/route.rs. Tables are read from memory, so a launch checks them first (route_clear, route_check), and kernels
// that find *bad set write NaN and follow no index.
#pragma once
#include "latens.cuh"

// A sequence: positions begin..end of a batch entry.
struct Sequence { u32 index, begin, end; };

struct Route {
  const u32 *bounds, *orders, *bad;
  u64 stride;  // from one order to the next
  u32 len, sequences;

  __device__ bool broken() const { return bad && *bad; }
  // The sequence that has position p of a batch entry; p < len.
  __device__ Sequence find(u32 batch, u32 p) const {
    if (!bounds) return {batch, 0, len};
    u32 low = 0, high = sequences;  // bounds[low] <= p < bounds[high]
    while (high - low > 1) {
      u32 middle = (low + high) / 2;
      if (bounds[middle] <= p) low = middle; else high = middle;
    }
    return {low, bounds[low], bounds[low + 1]};
  }
  __device__ Sequence sequence(u32 index) const {
    if (!bounds) return {index, 0, len};
    return {index, bounds[index], bounds[index + 1]};
  }
  __device__ u32 row(u32 order, u32 p) const { return orders ? orders[order * stride + p] : p; }
};

#define LATENS_ROUTE_ARGS const u32 *bounds, const u32 *orders, const u32 *bad, u64 order_stride, u32 len, u32 sequences
#define LATENS_ROUTE Route{bounds, orders, bad, order_stride, len, sequences}

// marks[0] is the flag, then one mark for each row of each order.
__device__ inline void route_clear(u32* marks, u64 count) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) marks[i] = 0;
}

// A row named twice, or past the end, or a bound out of order sets the flag; all who set it write the same.
__device__ inline void route_check(const Route& route, u32 count, u32* marks) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (route.orders && i < u64(count) * route.len) {
    u32 order = u32(i / route.len), row = route.row(order, u32(i % route.len));
    if (row >= route.len || atomicAdd(&marks[1 + u64(order) * route.len + row], 1u) != 0) marks[0] = 1;
  }
  if (!route.bounds) return;
  if (i < route.sequences && route.bounds[i] > route.bounds[i + 1]) marks[0] = 1;
  if (i == 0 && (route.bounds[0] != 0 || route.bounds[route.sequences] != route.len)) marks[0] = 1;
}

#define LATENS_ROUTE_ENTRIES(family)                                                                            \
  LATENS_ENTRY(family##_route_clear_u32, 256, u32* marks, u64 count) { route_clear(marks, count); }             \
  LATENS_ENTRY(family##_route_check_u32, 256, LATENS_ROUTE_ARGS, u32 count, u32* marks) {                       \
    route_check(LATENS_ROUTE, count, marks);                                                                    \
  }
