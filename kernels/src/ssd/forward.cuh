// An ssd forward. Included by ssd.cu alone.
#pragma once
#include "call.cuh"

// The sums of a chunk and head. A step beyond 6000 either way is one of 0 or infinity in f32, alone or with all growth that
// f32 has room for in a chunk; held there, it leaves the digits of its neighbours.
template <class T> __device__ void cumulate(const Call<T>& call, const Rows& to, u64 slots) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= slots * call.heads || call.route.broken()) return;
  u32 head = u32(i % call.heads);
  Chunk at = chunk_of(call.route, u32(i / call.heads));
  f64 a = call.a[head], sum = 0;
  f32 bias = call.bias ? call.bias[head] : 0.0f;
  u64 first = head * call.rows + at.row;
  for (u32 t = 0; t < at.count; ++t) {
    f32 raw = to_f32(call.delta[at.batch * call.delta_batch + (at.first + t) * call.delta_row + head]) + bias;
    f32 delta = call.softplus ? softplus(raw) : raw;
    f64 step = delta * a;
    sum += step < -6000.0 ? -6000.0 : step > 6000.0 ? 6000.0 : step;
    to.delta[first + t] = delta;
    to.high[first + t] = f32(sum);
    to.low[first + t] = f32(sum - f64(f32(sum)));
    to.from[first + t] = expf(f32(sum));
  }
  to.whole[i] = expf(f32(sum));
  for (u32 t = 0; t < at.count; ++t) to.upto[first + t] = expf(f32(sum - to.high[first + t] - to.low[first + t]));
}

// c times b, of every pair of rows of a chunk and group.
template <class T> __device__ void scores(const Call<T>& call, f32* to) {
  LATENS_SHARED(f32, shared);
  u32 groups = call.heads / call.per_group;
  Chunk at = chunk_of(call.route, blockIdx.x / groups);
  if (call.route.broken() || !at.count) return;
  Of<T> of = {call, at};
  u64 column = u64(blockIdx.x % groups) * call.states;
  f32 sum[4][4] = {};
  product<Terms::ALL, true, true>(
      sum, call.states, shared, [&](u32 r, u32 k) { return r < at.count ? of.c(r, column + k) : 0.0f; },
      [&](u32 k, u32 c) { return c < at.count ? of.b(c, column + k) : 0.0f; });
  f32* out = to + u64(blockIdx.x) * CHUNK * CHUNK;
  each(sum, at.count, at.count, [&](u32 r, u32 c, f32 x) { out[r * CHUNK + c] = x; });
}

// What the rows of a chunk leave in the state after it: of a slot and head, CHUNK entries by CHUNK states. BACK: what they
// want of the state before it.
template <class T, bool BACK>
__device__ void ends(const Call<T>& call, const Rows& rows, const T* dy, u64 dy_batch, u64 dy_row, f32* to) {
  LATENS_SHARED(f32, shared);
  u32 across = (call.states + CHUNK - 1) / CHUNK, down = (call.head_dim + CHUNK - 1) / CHUNK;
  u32 first_n = blockIdx.x % across * CHUNK, first_p = blockIdx.x / across % down * CHUNK;
  u32 record = blockIdx.x / (across * down), head = record % call.heads;
  Chunk at = chunk_of(call.route, record / call.heads);
  if (call.route.broken() || !at.count) return;
  Of<T> of = {call, at};
  u64 row = head * call.rows + at.row, column = u64(head) * call.head_dim + first_p;
  u64 shared_column = u64(head / call.per_group) * call.states + first_n;
  u32 height = min(CHUNK, call.head_dim - first_p), width = min(CHUNK, call.states - first_n);
  f32 sum[4][4] = {};
  product<Terms::ALL, false, false>(
      sum, at.count, shared,
      [&](u32 r, u32 t) {
        if (r >= height) return 0.0f;
        if (BACK) return of.slope(dy, dy_batch, dy_row, t, column + r) * rows.from[row + t];
        return of.x(t, column + r) * (rows.delta[row + t] * rows.upto[row + t]);
      },
      [&](u32 t, u32 c) {
        if (c >= width) return 0.0f;
        return BACK ? of.c(t, shared_column + c) : of.b(t, shared_column + c);
      });
  f32* out = to + (u64(record) * call.head_dim + first_p) * call.states + first_n;
  each(sum, height, width, [&](u32 r, u32 c, f32 x) { out[u64(r) * call.states + c] = x; });
}

// From what chunks leave to the states before them, in place, and the state after the last; backward the other way round.
// A thread has a number of the state of a sequence.
__device__ inline void pass(const Route& route, f32* all, const f32* whole, const f32* first, f32* last, u32 heads, u64 state,
                            u32 back) {
  u64 per = (heads * state + BLOCK - 1) / BLOCK, i = blockIdx.x % per * BLOCK + threadIdx.x;
  u32 sequence = u32(blockIdx.x / per), head = u32(i / state);
  if (i >= heads * state) return;
  u64 at = u64(sequence) * heads * state + i;
  f32 now = first ? first[at] : 0.0f;
  if (!route.broken()) {
    Sequence s = route.sequence(sequence);
    u32 chunks = (s.end - s.begin + CHUNK - 1) / CHUNK, slot = slot_of(route, sequence);
    for (u32 k = 0; k < chunks; ++k) {
      u64 j = slot + (back ? chunks - 1 - k : k);
      f32* here = all + j * heads * state + i;
      f32 found = *here;
      *here = now;
      now = __fmaf_rn(whole[j * heads + head], now, found);
    }
  }
  if (last) last[at] = route.broken() ? not_a_number() : now;
}

// The output of a chunk, by head and CHUNK of its entries. SLOPE: the gradient of the gate instead.
template <class T, bool SLOPE>
__device__ void output(const Call<T>& call, const Rows& rows, const f32* scores, const f32* starts, const T* dy, u64 dy_batch,
                       u64 dy_row, T* to) {
  LATENS_SHARED(f32, shared);
  f32 *delta = shared + STAGE, *high = delta + CHUNK, *low = high + CHUNK;
  u32 tiles = (call.head_dim + CHUNK - 1) / CHUNK, first_p = blockIdx.x % tiles * CHUNK;
  u32 record = blockIdx.x / tiles, head = record % call.heads, slot = record / call.heads;
  Chunk at = chunk_of(call.route, slot);
  if (!at.count) return;
  Of<T> of = {call, at};
  u64 row = head * call.rows + at.row, column = u64(head) * call.head_dim + first_p;
  u64 group = head / call.per_group, shared_column = group * call.states;
  u32 width = min(CHUNK, call.head_dim - first_p);
  bool broken = call.route.broken();
  f32 sum[4][4] = {};
  if (!broken) {
    for (u32 t = threadIdx.x; t < at.count; t += BLOCK) {
      delta[t] = rows.delta[row + t];
      high[t] = rows.high[row + t];
      low[t] = rows.low[row + t];
    }
    const f32* state = starts + (u64(record) * call.head_dim + first_p) * call.states;
    product<Terms::ALL, true, true>(
        sum, call.states, shared, [&](u32 r, u32 n) { return r < at.count ? of.c(r, shared_column + n) : 0.0f; },
        [&](u32 n, u32 c) { return c < width ? state[u64(c) * call.states + n] : 0.0f; });
#pragma unroll
    for (u32 r = 0; r < 4; ++r) {
      f32 from = tile_row() + r < at.count ? rows.from[row + tile_row() + r] : 0.0f;
#pragma unroll
      for (u32 c = 0; c < 4; ++c) sum[r][c] *= from;
    }
    const f32* pairs = scores + (slot * (call.heads / call.per_group) + group) * CHUNK * CHUNK;
    product<Terms::UP_TO_ROW, true, false>(
        sum, at.count, shared,
        [&](u32 r, u32 k) { return k <= r && r < at.count ? pairs[r * CHUNK + k] * decay(high, low, r, k) * delta[k] : 0.0f; },
        [&](u32 k, u32 c) { return c < width ? of.x(k, column + c) : 0.0f; });
  }
  f32 skip = call.skip ? call.skip[head] : 0.0f;
  each(sum, at.count, width, [&](u32 r, u32 c, f32 y) {
    if (call.skip) y = __fmaf_rn(skip, of.x(r, column + c), y);
    if (call.gate) {
      f32 z = of.gate(r, column + c), s = sigmoid(z);
      y *= SLOPE ? to_f32(dy[at.batch * dy_batch + (at.first + r) * dy_row + column + c]) * s * (1.0f + z * (1.0f - s)) : z * s;
    }
    to[(at.row + r) * call.heads * call.head_dim + column + c] = from_f32<T>(broken ? not_a_number() : y);
  });
}

// One row of every sequence: a warp has an entry of a head, its lanes the states.
template <class T> __device__ void step(const Call<T>& call, f32* states, T* y, u64 count) {
  u64 i = u64(blockIdx.x) * (BLOCK / 32) + threadIdx.x / 32, width = u64(call.heads) * call.head_dim;
  if (i >= count) return;
  u64 batch = i / width, column = i % width, head = column / call.head_dim, group = head / call.per_group;
  f32 raw = to_f32(call.delta[batch * call.delta_batch + head]) + (call.bias ? call.bias[head] : 0.0f);
  f32 delta = call.softplus ? softplus(raw) : raw, keep = expf(delta * call.a[head]);
  f32 x = to_f32(call.x[batch * call.x_batch + column]), sum = 0;
  for (u32 n = threadIdx.x % 32; n < call.states; n += 32) {
    f32* h = states + i * call.states + n;
    f32 b = to_f32(call.b[batch * call.b_batch + group * call.states + n]);
    f32 c = to_f32(call.c[batch * call.c_batch + group * call.states + n]);
    *h = __fmaf_rn(keep, *h, delta * x * b);
    sum = __fmaf_rn(*h, c, sum);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32) return;
  if (call.skip) sum = __fmaf_rn(call.skip[head], x, sum);
  if (call.gate) {
    f32 z = to_f32(call.gate[batch * call.gate_batch + column]);
    sum *= z * sigmoid(z);
  }
  y[i] = from_f32<T>(sum);
}
