// An ssd backward. Included by ssd.cu alone.
#pragma once
#include "call.cuh"

// Of a chunk and head, by row, in shared memory: what the sums of a chunk are, and what its rows want.
struct Kept {
  f32 *delta, *high, *low, *from, *upto;  // as in Rows
  f32 *entry, *ahead, *behind, *skip;     // sums over entries of x: by its gradient but for delta and skip, by the part of
                                          // that from later chunks, of the output's gradient by the part of earlier chunks, by x
  f32* grid;                              // [CHUNK][CHUNK + 1]
};
constexpr u32 KEPT = 9 * CHUNK + CHUNK * (CHUNK + 1);

template <class T>
__device__ Kept keep(const Call<T>& call, const Rows& rows, const Chunk& at, u32 head, f32* shared) {
  f32* part[9];
#pragma unroll
  for (u32 i = 0; i < 9; ++i) part[i] = shared + i * CHUNK;
  u64 row = head * call.rows + at.row;
  for (u32 t = threadIdx.x; t < CHUNK; t += BLOCK) {
    bool real = t < at.count;
    part[0][t] = real ? rows.delta[row + t] : 0.0f;
    part[1][t] = real ? rows.high[row + t] : 0.0f;
    part[2][t] = real ? rows.low[row + t] : 0.0f;
    part[3][t] = real ? rows.from[row + t] : 0.0f;
    part[4][t] = real ? rows.upto[row + t] : 0.0f;
    part[5][t] = part[6][t] = part[7][t] = part[8][t] = 0.0f;
  }
  return {part[0], part[1], part[2], part[3], part[4], part[5], part[6], part[7], part[8], shared + 9 * CHUNK};
}

// to[row] += of(row, column) times a thread's sums, over the columns inside: 16 lanes have a row.
template <class F> __device__ inline void add_rows(f32 (&sum)[4][4], u32 rows, u32 columns, f32* to, F of) {
#pragma unroll
  for (u32 r = 0; r < 4; ++r) {
    f32 all = 0;
#pragma unroll
    for (u32 c = 0; c < 4; ++c)
      if (tile_row() + r < rows && tile_column() + c < columns)
        all = __fmaf_rn(of(tile_row() + r, tile_column() + c), sum[r][c], all);
#pragma unroll
    for (u32 by = 1; by < 16; by *= 2) all += __shfl_xor_sync(~0u, all, by);
    if (threadIdx.x % 16 == 0 && tile_row() + r < rows) to[tile_row() + r] += all;
  }
}

// What pairs of rows have to do with each other: the output's gradient of the later times x of the earlier, decayed, to
// `pairs`; from it, what the decay before each row is worth to the pairs that it parts, to the grid's first column.
template <class T, class Slope>
__device__ void pair(const Call<T>& call, const Of<T>& of, const Chunk& at, const Kept& kept, u64 column, const f32* scores,
                     f32* pairs, f32* shared, Slope slope) {
  f32 sum[4][4] = {};
  product<Terms::ALL, true, true>(
      sum, call.head_dim, shared, [&](u32 r, u32 p) { return r < at.count ? slope(r, column + p) : 0.0f; },
      [&](u32 p, u32 c) { return c < at.count ? of.x(c, column + p) : 0.0f; });
  constexpr u32 WIDE = CHUNK + 1;
  each(sum, at.count, at.count, [&](u32 r, u32 c, f32 x) {
    f32 weighed = c <= r ? x * decay(kept.high, kept.low, r, c) * kept.delta[c] : 0.0f;
    pairs[r * CHUNK + c] = weighed;
    kept.grid[r * WIDE + c] = c <= r ? weighed * scores[r * CHUNK + c] : 0.0f;
  });
  __syncthreads();
  u32 t = threadIdx.x;
  if (t < at.count) {  // each number of a row becomes the sum of those before it
    f32 before = 0;
    for (u32 j = 0; j <= t; ++j) {
      f32 here = kept.grid[t * WIDE + j];
      kept.grid[t * WIDE + j] = before;
      before += here;
    }
  }
  __syncthreads();
  f32 parted = 0;
  for (u32 i = t; i < at.count; ++i) parted += kept.grid[i * WIDE + t];
  __syncthreads();
  if (t < at.count) kept.grid[t * WIDE] = parted;
}

// The gradient of x for CHUNK entries of a head, and what those add to the sums by row.
template <class T, class Slope>
__device__ void entries(const Call<T>& call, const Of<T>& of, const Chunk& at, const Kept& kept, u64 column, u64 shared_column,
                        u32 width, const f32* scores, const f32* start, const f32* end, f32 skip, T* dx, f32* shared, Slope slope) {
  auto x = [&](u32 r, u32 c) { return of.x(r, column + c); };
  auto g = [&](u32 r, u32 c) { return slope(r, column + c); };
  f32 sum[4][4] = {};
  product<Terms::ALL, true, true>(
      sum, call.states, shared, [&](u32 r, u32 n) { return r < at.count ? of.c(r, shared_column + n) * kept.from[r] : 0.0f; },
      [&](u32 n, u32 c) { return c < width ? start[u64(c) * call.states + n] : 0.0f; });
  add_rows(sum, at.count, width, kept.behind, g);
#pragma unroll
  for (u32 r = 0; r < 4; ++r)
#pragma unroll
    for (u32 c = 0; c < 4; ++c) sum[r][c] = 0;
  product<Terms::ALL, true, true>(
      sum, call.states, shared, [&](u32 r, u32 n) { return r < at.count ? of.b(r, shared_column + n) * kept.upto[r] : 0.0f; },
      [&](u32 n, u32 c) { return c < width ? end[u64(c) * call.states + n] : 0.0f; });
  add_rows(sum, at.count, width, kept.ahead, x);
  product<Terms::FROM_ROW, false, false>(
      sum, at.count, shared,
      [&](u32 r, u32 k) { return k >= r ? scores[k * CHUNK + r] * decay(kept.high, kept.low, k, r) : 0.0f; },
      [&](u32 k, u32 c) { return c < width ? slope(k, column + c) : 0.0f; });
  add_rows(sum, at.count, width, kept.entry, x);
#pragma unroll
  for (u32 i = 0; i < 4; ++i)
#pragma unroll
    for (u32 j = 0; j < 4; ++j) {
      u32 r = tile_row() + i, c = tile_column() + j;
      bool inside = r < at.count && c < width;
      f32 of_y = inside ? g(r, c) : 0.0f;
      if (inside && dx)
        dx[(at.row + r) * call.heads * call.head_dim + column + c] = from_f32<T>(__fmaf_rn(skip, of_y, kept.delta[r] * sum[i][j]));
      sum[i][j] = of_y;
    }
  add_rows(sum, at.count, width, kept.skip, x);
}

// The gradients of x and delta of a chunk and head, and records of the sums over rows: of a, skip, bias.
template <class T>
__device__ void backward(const Call<T>& call, const Rows& rows, const f32* scores, const f32* starts, const f32* ends, const T* dy,
                         u64 dy_batch, u64 dy_row, T* dx, T* ddelta, f32* pairs, f32* records) {
  LATENS_SHARED(f32, shared);
  u32 head = blockIdx.x % call.heads, slot = blockIdx.x / call.heads, group = head / call.per_group, t = threadIdx.x;
  Chunk at = chunk_of(call.route, slot);
  f32* record = records + u64(blockIdx.x) * 3;
  u64 column = u64(head) * call.head_dim, width = u64(call.heads) * call.head_dim;
  if (call.route.broken() || !at.count) {
    f32 none = at.count ? not_a_number() : 0.0f;
    if (t < 3) record[t] = none;
    for (u32 i = t; dx && i < at.count * call.head_dim; i += BLOCK)
      dx[(at.row + i / call.head_dim) * width + column + i % call.head_dim] = from_f32<T>(none);
    if (ddelta && t < at.count) ddelta[(at.row + t) * call.heads + head] = from_f32<T>(none);
    return;
  }
  Of<T> of = {call, at};
  auto slope = [&](u32 r, u64 c) { return of.slope(dy, dy_batch, dy_row, r, c); };
  Kept kept = keep(call, rows, at, head, shared + STAGE);
  const f32* score = scores + (u64(slot) * (call.heads / call.per_group) + group) * CHUNK * CHUNK;
  u64 state = u64(blockIdx.x) * call.head_dim * call.states;
  __syncthreads();
  pair(call, of, at, kept, column, score, pairs + u64(blockIdx.x) * CHUNK * CHUNK, shared, slope);
  f32 skip = call.skip ? call.skip[head] : 0.0f;
  for (u32 p = 0; p < call.head_dim; p += CHUNK)
    entries(call, of, at, kept, column + p, u64(group) * call.states, min(CHUNK, call.head_dim - p), score,
            starts + state + u64(p) * call.states, ends + state + u64(p) * call.states, skip, dx, shared, slope);
  f32 through = 0;  // of the state before the chunk, by what is wanted of that after it
  for (u64 i = t; i < u64(call.head_dim) * call.states; i += BLOCK)
    through = __fmaf_rn(starts[state + i], ends[state + i], through);
  through = block_sum(through) * rows.whole[blockIdx.x];
  f32 of_a = 0, of_skip = 0, of_bias = 0;
  if (t < at.count) {
    f32 by_decay = kept.grid[t * (CHUNK + 1)] + through, delta = kept.delta[t];
    for (u32 i = 0; i < t; ++i) by_decay = __fmaf_rn(kept.ahead[i], kept.delta[i], by_decay);
    for (u32 i = t; i < at.count; ++i) by_decay += kept.behind[i];
    of_bias = __fmaf_rn(call.a[head], by_decay, kept.entry[t]);
    if (call.softplus) {
      f32 raw = to_f32(call.delta[at.batch * call.delta_batch + (at.first + t) * call.delta_row + head]);
      if (call.bias) raw += call.bias[head];
      if (!(raw > 20.0f)) of_bias *= sigmoid(raw);
    }
    if (ddelta) ddelta[(at.row + t) * call.heads + head] = from_f32<T>(of_bias);
    of_a = delta * by_decay;
    of_skip = kept.skip[t];
  }
  of_a = block_sum(of_a), of_skip = block_sum(of_skip), of_bias = block_sum(of_bias);
  if (t == 0) record[0] = of_a, record[1] = of_skip, record[2] = of_bias;
}

// Pairs summed over the heads of a group, in order: a thread has one of a slot and group.
__device__ inline void pair_sums(const Route& route, const f32* pairs, f32* sums, u64 count, u32 groups, u32 per_group) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count || route.broken()) return;
  u64 record = i / (CHUNK * CHUNK), within = i % (CHUNK * CHUNK);
  Chunk at = chunk_of(route, u32(record / groups));
  if (within / CHUNK >= at.count || within % CHUNK >= at.count) return;
  f32 sum = 0;
  for (u32 head = 0; head < per_group; ++head) sum += pairs[(record * per_group + head) * CHUNK * CHUNK + within];
  sums[i] = sum;
}

// The gradients of b and c of a chunk and group, for CHUNK states: the sum over heads is one long product. BACK: of b.
template <class T, bool OF_B>
__device__ void shared_slopes(const Call<T>& call, const Rows& rows, const f32* pairs, const f32* states, const T* dy, u64 dy_batch,
                              u64 dy_row, T* to) {
  LATENS_SHARED(f32, shared);
  u32 tiles = (call.states + CHUNK - 1) / CHUNK, groups = call.heads / call.per_group;
  u32 first_n = blockIdx.x % tiles * CHUNK, record = blockIdx.x / tiles, group = record % groups, slot = record / groups;
  Chunk at = chunk_of(call.route, slot);
  if (!at.count) return;
  Of<T> of = {call, at};
  u32 width = min(CHUNK, call.states - first_n), head = group * call.per_group;
  u64 column = u64(group) * call.states + first_n, entry = u64(head) * call.head_dim;
  bool broken = call.route.broken();
  f32 sum[4][4] = {};
  if (!broken) {
    const f32* pair = pairs + u64(record) * CHUNK * CHUNK;
    const f32* state = states + (u64(slot) * call.heads + head) * call.head_dim * call.states + first_n;
    auto row = [&](u32 k, u32 r) { return (head + k / call.head_dim) * call.rows + at.row + r; };
    product<Terms::ALL, true, false>(
        sum, call.per_group * call.head_dim, shared,
        [&](u32 r, u32 k) {
          if (r >= at.count) return 0.0f;
          u64 i = row(k, r);
          if (OF_B) return of.x(r, entry + k) * (rows.delta[i] * rows.upto[i]);
          return of.slope(dy, dy_batch, dy_row, r, entry + k) * rows.from[i];
        },
        [&](u32 k, u32 c) { return c < width ? state[u64(k) * call.states + c] : 0.0f; });
    auto other = [&](u32 k, u32 c) {
      if (c >= width) return 0.0f;
      return OF_B ? of.c(k, column + c) : of.b(k, column + c);
    };
    if (OF_B)
      product<Terms::FROM_ROW, false, false>(
          sum, at.count, shared, [&](u32 r, u32 k) { return k >= r ? pair[k * CHUNK + r] : 0.0f; }, other);
    else
      product<Terms::UP_TO_ROW, true, false>(
          sum, at.count, shared, [&](u32 r, u32 k) { return k <= r && r < at.count ? pair[r * CHUNK + k] : 0.0f; }, other);
  }
  each(sum, at.count, width, [&](u32 r, u32 c, f32 x) {
    to[(at.row + r) * groups * call.states + column + c] = from_f32<T>(broken ? not_a_number() : x);
  });
}

// Sums over chunks: a block has a head and one of the three kinds of a record.
__device__ inline void record_sums(const f32* records, u64 slots, u32 heads, f32* da, f32* dskip, f32* dbias) {
  u32 head = blockIdx.x / 3, kind = blockIdx.x % 3;
  f32 sum = 0;
  for (u64 slot = threadIdx.x; slot < slots; slot += blockDim.x) sum += records[(slot * heads + head) * 3 + kind];
  sum = block_sum(sum);
  f32* to = kind == 0 ? da : kind == 1 ? dskip : dbias;
  if (threadIdx.x == 0 && to) to[head] = sum;
}
