// A scan backward. Included by scan.cu alone.
#pragma once
#include "call.cuh"

// The gradient of a channel's output before the gate.
template <class T>
__device__ f32 output_slope(const Call<T>& call, const Place& at, u32 channel, u32 row, const T* dy, u64 dy_batch, u64 dy_row) {
  u32 column = channel % (call.channels / call.orders);
  f32 g = to_f32(dy[at.batch * dy_batch + row * dy_row + column]);
  if (!call.gate) return g;
  f32 z = to_f32(call.gate[at.batch * call.gate_batch + row * call.gate_row + column]);
  return g * z * sigmoid(z);
}

// What a block keeps of a chunk in shared memory: of each position and channel raw, delta, u and the gradient of the output;
// a bit for each position where a sequence begins or ends.
struct Kept {
  f32* x;
  u32 each, mine;
  Marks mark;
};
template <class T>
__device__ Kept keep(const Call<T>& call, const Place& at, f32* shared, const T* dy, u64 dy_batch, u64 dy_row) {
  Kept kept = {shared, BLOCK / at.lanes, threadIdx.x / at.lanes, marks(call.route, at.batch, at.first, at.end - at.first)};
#pragma unroll 1
  for (u32 i = threadIdx.x; i < (at.end - at.first) * kept.each; i += BLOCK) {
    u32 p = at.first + i / kept.each, within = at.within + i % kept.each;
    if (within >= call.unit) continue;
    Input<T, false> x(call, at.batch, at.order, at.base + within, p);
    f32* to = kept.x + i * 4;
    to[0] = x.raw;
    to[1] = x.delta;
    to[2] = x.u;
    to[3] = output_slope(call, at, at.base + within, call.route.row(at.order, p), dy, dy_batch, dy_row);
  }
  __syncthreads();
  return kept;
}

// A chunk from its end: what its rows want of the state before it.
template <class T>
__device__ void wants(const Call<T>& call, u32 lanes, const T* dy, u64 dy_batch, u64 dy_row, const f32* dlast, f32* ends) {
  LATENS_SHARED(f32, shared);
  if (call.route.broken()) return;
  Place at = place(call, lanes);
  u32 states = call.states, count = at.end - at.first;
  stage(call, at, at.first, count, shared);
  Kept kept = keep(call, at, shared + STEPS * 2 * states, dy, dy_batch, dy_row);
  if (!at.active) return;
  for (u32 n = at.lane * BACKWARD; n < states; n += lanes * BACKWARD) {
    f32 a[BACKWARD], want[BACKWARD] = {};
    exponents(a, call.a + at.channel * call.a_row, n, states);
#pragma unroll 1
    for (u32 t = count; t-- > 0;) {
      if (kept.mark.ends >> t & 1)
        load(want, state_of(call, dlast, index_of(call.route, at.batch, at.first + t), at.channel), n, states);
      const f32* x = kept.x + (t * kept.each + kept.mine) * 4;
#pragma unroll
      for (u32 i = 0; i < BACKWARD; ++i)
        if (n + i < states)
          want[i] = exp2f(x[1] * a[i]) * __fmaf_rn(shared[t * 2 * states + states + n + i], x[3], want[i]);
    }
    store(ends + (at.record * call.channels + at.channel) * states, want, n, states);
  }
}

// Where the gradients of a chunk go: those of inputs, and records of sums.
template <class T> struct To {
  T *du, *ddelta;
  f32 *du_parts, *tiles, *records, *dinitial;
};

// The sums of some states over the channels of a warp, to shared memory.
__device__ inline void tile_sum(const Place& at, const f32 (&of)[BACKWARD], f32* sums, u32 n, u32 states) {
#pragma unroll
  for (u32 i = 0; i < BACKWARD; ++i) {
    f32 sum = at.active ? of[i] : 0.0f;
    for (u32 by = at.lanes; by < 32; by *= 2) sum += __shfl_xor_sync(~0u, sum, by);
    if (threadIdx.x % 32 < at.lanes && n + i < states) sums[n + i] = sum;
  }
}

// Some states of a chunk, forward and back again. Their sums over channels go to shared memory, by warp.
template <class T>
__device__ void through(const Call<T>& call, const Place& at, const Kept& kept, const f32* staged, f32* sums, u32 n,
                        const f32* dlast, const f32* starts, const f32* later, f32* by_b, f32* by_a, const To<T>& to) {
  u32 states = call.states, count = at.end - at.first, warp = threadIdx.x / 32;
  u64 state = (at.record * call.channels + at.channel) * states;
  f32 a[BACKWARD], h[STEPS + 1][BACKWARD], decay[STEPS][BACKWARD], want[BACKWARD], da[BACKWARD] = {};
  exponents(a, call.a + at.channel * call.a_row, n, states);
  load(h[0], starts + state, n, states);
  load(want, later + state, n, states);
#pragma unroll
  for (u32 t = 0; t < STEPS; ++t) {
    if (t >= count) continue;
    if (kept.mark.begins >> t & 1)
      load(h[t], state_of(call, call.initial, index_of(call.route, at.batch, at.first + t), at.channel), n, states);
    const f32* x = kept.x + (t * kept.each + kept.mine) * 4;
    f32 of_c[BACKWARD];
#pragma unroll
    for (u32 i = 0; i < BACKWARD; ++i) {
      f32 b = n + i < states ? staged[t * 2 * states + n + i] : 0.0f;
      decay[t][i] = exp2f(x[1] * a[i]);
      h[t + 1][i] = __fmaf_rn(decay[t][i], h[t][i], x[1] * x[2] * b);
      of_c[i] = x[3] * h[t + 1][i];  // now, for a sequence that begins next puts its own state there
    }
    tile_sum(at, of_c, sums + (warp * STEPS + t) * 2 * states + states, n, states);
  }
#pragma unroll
  for (u32 t = STEPS; t-- > 0;) {
    if (t >= count) continue;
    if (kept.mark.ends >> t & 1)
      load(want, state_of(call, dlast, index_of(call.route, at.batch, at.first + t), at.channel), n, states);
    const f32 *x = kept.x + (t * kept.each + kept.mine) * 4, *bc = staged + t * 2 * states;
    f32 of_b[BACKWARD];
#pragma unroll
    for (u32 i = 0; i < BACKWARD; ++i) {
      bool real = n + i < states;
      f32 dh = real ? __fmaf_rn(bc[states + n + i], x[3], want[i]) : 0.0f;
      f32 back = decay[t][i] * dh, decayed = back * h[t][i];
      by_b[t] = __fmaf_rn(real ? bc[n + i] : 0.0f, dh, by_b[t]);
      by_a[t] = __fmaf_rn(a[i], decayed, by_a[t]);
      da[i] = __fmaf_rn(x[1], decayed, da[i]);
      want[i] = back;
      of_b[i] = x[1] * x[2] * dh;
    }
    tile_sum(at, of_b, sums + (warp * STEPS + t) * 2 * states, n, states);
    if (kept.mark.begins >> t & 1 && at.active && to.dinitial)
      store(to.dinitial + (u64(index_of(call.route, at.batch, at.first + t)) * call.channels + at.channel) * states, want, n, states);
  }
  f32* record = to.records + at.record * (states + 2) * call.channels + at.channel;
#pragma unroll
  for (u32 i = 0; i < BACKWARD; ++i)
    if (n + i < states && at.active) record[u64(n + i) * call.channels] = da[i];
}

// A chunk forward and back again. Sums over channels: a warp's by shuffles, the block's in shared memory, to `tiles`.
template <class T>
__device__ void backward(const Call<T>& call, u32 lanes, const T* dy, u64 dy_batch, u64 dy_row, const f32* dlast,
                         const f32* starts, const f32* later, const To<T>& to, u64 rows) {
  LATENS_SHARED(f32, shared);
  Place at = place(call, lanes);
  u32 states = call.states, count = at.end - at.first;
  bool broken = call.route.broken();
  f32* sums = shared + STEPS * 2 * states;  // by warp, position and state: of b, then of c
  Kept kept = {nullptr, 0, 0, {0, 0}};
  if (!broken) {
    stage(call, at, at.first, count, shared);
    kept = keep(call, at, sums + BLOCK / 32 * STEPS * 2 * states, dy, dy_batch, dy_row);
  }
  u64 in_batch = u64(at.batch) * call.route.len;
  f32 skip = call.skip ? call.skip[at.channel] : 0.0f;
  f32* record = to.records + at.record * (states + 2) * call.channels + at.channel;
  f32 by_b[STEPS] = {}, by_a[STEPS] = {}, dskip = 0, dbias = 0;
  for (u32 first = 0; !broken && first < states; first += lanes * BACKWARD)
    through(call, at, kept, shared, sums, first + at.lane * BACKWARD, dlast, starts, later, by_b, by_a, to);
#pragma unroll
  for (u32 t = 0; t < STEPS; ++t) {  // by_b and by_a are registers
    if (t >= count) continue;
    u32 p = at.first + t, row = broken ? p : call.route.row(at.order, p);
    f32 of_u = not_a_number(), of_delta = of_u;
    f32 through_b = lanes_sum(by_b[t], lanes), through_a = lanes_sum(by_a[t], lanes);
    if (!broken) {
      const f32* x = kept.x + (t * kept.each + kept.mine) * 4;
      of_u = __fmaf_rn(x[1], through_b, skip * x[3]);
      of_delta = __fmaf_rn(x[2], through_b, through_a * (1.0f / LOG2_E));
      if (call.softplus && !(x[0] > 20.0f)) of_delta *= sigmoid(x[0]);
      dskip = __fmaf_rn(x[3], x[2], dskip);
    }
    dbias += of_delta;
    if (!at.active || at.lane) continue;
    if (to.du) to.du[(in_batch + row) * call.columns + at.channel] = from_f32<T>(of_u);
    if (to.du_parts) to.du_parts[(in_batch + row) * call.channels + at.channel] = of_u;
    if (to.ddelta) to.ddelta[(in_batch + row) * call.channels + at.channel] = from_f32<T>(of_delta);
  }
  if (at.active && at.lane == 0) {
    record[u64(states) * call.channels] = broken ? not_a_number() : dskip;
    record[u64(states + 1) * call.channels] = dbias;
    for (u32 n = 0; broken && n < states; ++n) record[u64(n) * call.channels] = not_a_number();
  }
  __syncthreads();
  for (u32 i = threadIdx.x; i < count * 2 * states; i += BLOCK) {
    u32 p = at.first + i / (2 * states), row = broken ? p : call.route.row(at.order, p);
    f32 sum = broken ? not_a_number() : 0.0f;
    for (u32 w = 0; w < BLOCK / 32 && !broken; ++w) sum += sums[w * STEPS * 2 * states + i];
    to.tiles[(at.tile * rows + in_batch + row) * 2 * states + i % (2 * states)] = sum;
  }
}

