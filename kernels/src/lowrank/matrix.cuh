// What blocks of lowrank know of their matrix.
#pragma once
#include "reduce.cuh"
#include "segments.cuh"

// Matrix `at` and its first rows in the two factors, which every thread of the block asks for.
struct Matrix {
  Segment segment;
  u64 row, column;
};
__device__ inline Matrix matrix_of(const u32* table, u32 at, u64 span) {
  u64 rows = 0, columns = 0;
  for (u32 t = threadIdx.x; t < at; t += blockDim.x) {
    Segment s = segment_of(table, t, span);
    rows += s.rows;
    columns += s.columns;
  }
  return {segment_of(table, at, span), block_sum(rows), block_sum(columns)};
}
