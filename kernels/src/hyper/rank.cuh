// rank: steps of personalised PageRank for all columns. Contract: rank.rs. Geometry: launch/rank.rs. Not yet run on a
// device.
//
//   once      w / δ of each edge, 1 / d of each vertex
//   a step    held = what each edge receives; next = what each vertex receives; sums of changes and of what was lost,
//             by parts of the vertices and then of the parts, in order; a column that is done is copied on
//   A thread: a vertex or an edge, and a column; neighbours take neighbouring columns.
//
//   floor of a step: 2 * entries * (4 + 4 * columns) + (3 * vertices + 2 * edges) * 4 * columns bytes
#pragma once
#include "incidence.cuh"

typedef double f64;
constexpr u32 PART = 1024;   // vertices of a part: twin of launch/rank.rs
constexpr u32 ENTRIES = 64;  // of a row that are summed in f32

__device__ inline f32 positive(f32 x) { return x > 0 ? x : 0; }

// The sum of `of(column, number)` over a row. A row may have every vertex, and equal terms that are rounded alike: parts of ENTRIES
// are summed in f32, and those in f64.
template <class Of>
__device__ f32 rank_sum(const Rows& rows, u32 r, Of of) {
  f64 all = 0;
  for (u32 i = rows.begin(r), end = rows.end(r); i < end;) {
    f32 part = 0;
    for (u32 stop = min(end - i, ENTRIES) + i; i < stop; ++i) {
      u32 column, number;
      if (rows.find(i, column, number)) part = of(part, column, number);
    }
    all += part;
  }
  return f32(all);
}

// A thread: an edge.
__device__ inline void rank_edges(const Rows& edges, const f32* weights, const f32* given, f32* of_edges) {
  u32 e = blockIdx.x * blockDim.x + threadIdx.x;
  if (e >= edges.rows) return;
  f32 all = rank_sum(edges, e, [&](f32 sum, u32, u32 number) { return sum + (given ? positive(given[number]) : 1); });
  of_edges[e] = all > 0 ? (weights ? positive(weights[e]) : 1) / all : 0;
}

// A thread: a vertex. 0 marks one without edges.
__device__ inline void rank_vertices(const Rows& vertices, const f32* weights, const f32* of_edges, f32* inverse) {
  u32 v = blockIdx.x * blockDim.x + threadIdx.x;
  if (v >= vertices.rows) return;
  f32 all = rank_sum(vertices, v, [&](f32 sum, u32 edge, u32) {
    return of_edges[edge] > 0 ? sum + (weights ? positive(weights[edge]) : 1) : sum;
  });
  inverse[v] = all > 0 ? 1 / all : 0;
}

__device__ inline void rank_begin(const f32* seeds, f32* now, u32* done, u32 vertices, u32 columns, u64 stride) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at < u64(vertices) * columns) now[at] = seeds[at / columns * stride + at % columns];
  if (at < columns) done[at] = 0;
}

__device__ inline void rank_held(const Rows& edges, const f32* of_edges, const f32* inverse, const u32* done, const f32* now,
                                 f32* held, u32 columns) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(edges.rows) * columns) return;
  u32 e = u32(at / columns), q = u32(at % columns);
  if (done[q]) return;
  held[at] = of_edges[e] * rank_sum(edges, e, [&](f32 sum, u32 vertex, u32) {
    return __fmaf_rn(now[u64(vertex) * columns + q], inverse[vertex], sum);
  });
}

__device__ inline void rank_next(const Rows& vertices, const f32* shares, const f32* held, const u32* done, const f32* lost,
                                 const f32* seeds, const f32* now, f32* next, u32 columns, u64 stride, f32 damping) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(vertices.rows) * columns) return;
  u32 v = u32(at / columns), q = u32(at % columns);
  if (done[q]) {
    next[at] = now[at];
    return;
  }
  f32 sum = rank_sum(vertices, v, [&](f32 sum, u32 edge, u32 number) {
    return __fmaf_rn(shares ? positive(shares[number]) : 1, held[u64(edge) * columns + q], sum);
  });
  next[at] = __fmaf_rn(damping, sum, (1 - damping + damping * lost[q]) * seeds[v * stride + q]);
}

// A thread: a part of the vertices, and a column. parts[0]: changes, parts[1]: what stands where nothing leads out.
__device__ inline void rank_parts(const f32* before, const f32* now, const f32* inverse, f32* parts, u32 vertices,
                                  u32 columns, u32 count) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(count) * columns) return;
  u32 begin = u32(at / columns) * PART, end = min(u64(vertices), u64(begin) + PART);
  f64 change = 0, lost = 0;
  for (u32 v = begin; v < end; ++v) {
    u64 i = u64(v) * columns + at % columns;
    change += fabsf(now[i] - before[i]);
    if (inverse[v] == 0) lost += now[i];
  }
  parts[at] = f32(change);
  parts[u64(count) * columns + at] = f32(lost);
}

// A thread: a column. `first`: there was no step yet, and what changed is 0, or NaN if a seed is not finite; then what is lost
// is NaN too, and by it the whole column after a step.
__device__ inline void rank_close(const f32* parts, f32* change, f32* lost, u32* done, u32 columns, u32 count, f32 tolerance,
                                  u32 first) {
  u32 q = blockIdx.x * blockDim.x + threadIdx.x;
  if (q >= columns || (!first && done[q])) return;
  f64 sum = 0, all = 0;
  for (u32 i = 0; i < count; ++i) {
    sum += parts[u64(i) * columns + q];
    all += parts[u64(count + i) * columns + q];
  }
  f32 changed = f32(sum);
  change[q] = first ? 0 : changed;
  lost[q] = f32(first ? all + sum : all);
  if (!first && changed <= tolerance) done[q] = 1;
}
