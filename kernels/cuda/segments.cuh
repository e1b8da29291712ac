// Many tensors in one buffer: twin of kernels/src/segments.rs.
#pragma once
#include "latens.cuh"

struct Segment {
  u64 start, rows, columns;
  __device__ u64 len() const { return rows * columns; }
};

// Segment `at` of a table over a buffer of `span` elements; of nothing if it is not inside.
__device__ inline Segment segment_of(const u32* table, u32 at, u64 span) {
  const u32* w = table + u64(at) * 6;
  Segment s = {w[0] | u64(w[1]) << 32, w[2] | u64(w[3]) << 32, w[4] | u64(w[5]) << 32};
  bool inside = s.start <= span && (s.columns == 0 || s.rows <= (span - s.start) / s.columns);
  return inside ? s : Segment{0, 0, 0};
}
