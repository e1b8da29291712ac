// A scan forward. Included by scan.cu alone.
#pragma once
#include "call.cuh"

// delta and u of count positions by channel of the block, into shared memory, as pairs.
template <class T> __device__ void stage_inputs(const Call<T>& call, const Place& at, u32 first, u32 count, f32* x) {
  u32 each = BLOCK / at.lanes;
#pragma unroll 1
  for (u32 i = threadIdx.x; i < count * each; i += BLOCK) {
    u32 t = i / each, within = at.within + i % each;
    if (within >= call.unit) continue;
    Input<T, true> input(call, at.batch, at.order, at.base + within, first + t);
    x[2 * i] = input.delta;
    x[2 * i + 1] = input.u;
  }
}

// The outputs of count positions, where stage_inputs() put delta: to parts, or gated to y.
template <class T>
__device__ void put_outputs(const Call<T>& call, const Place& at, u32 first, u32 count, const f32* x, T* y, f32* parts) {
  u32 each = BLOCK / at.lanes, width = call.channels / call.orders;
  bool broken = call.route.broken();
#pragma unroll 1
  for (u32 i = threadIdx.x; i < count * each; i += BLOCK) {
    u32 p = first + i / each, within = at.within + i % each;
    if (within >= call.unit) continue;
    u32 row = broken ? p : call.route.row(at.order, p), channel = at.base + within, column = channel % width;
    u64 in_batch = u64(at.batch) * call.route.len + row;
    f32 result = broken ? not_a_number() : x[2 * i];
    if (parts) {
      parts[in_batch * call.channels + channel] = result;
      continue;
    }
    if (call.gate) {
      f32 z = to_f32(call.gate[at.batch * call.gate_batch + row * call.gate_row + column]);
      result *= z * sigmoid(z);
    }
    y[in_batch * width + column] = from_f32<T>(result);
  }
}

// A chunk in order. Without y: only its end, and the sum of its delta (ends, sums). With y: from starts, to y or parts.
// LANES is the number of lanes of a channel, known when compiled for the usual sizes.
template <class T, u32 LANES>
__device__ void forward(const Call<T>& call, u32 lanes_, const f32* starts, f32* ends, f32* sums, T* y, f32* parts, f32* last) {
  LATENS_SHARED(f32, shared);
  const u32 lanes = LANES ? LANES : lanes_, states = call.states;
  Place at = place(call, lanes);
  bool broken = call.route.broken(), out = y || parts;
  f32* x = shared + STEPS * 2 * states;  // delta, u
  u32 n = at.lane * FORWARD;
  f32 a[FORWARD], h[FORWARD] = {}, sum = 0;
  exponents(a, call.a + at.channel * call.a_row, n, states);
  f32 skip = call.skip ? call.skip[at.channel] : 0.0f;
  u64 record = (at.record * call.channels + at.channel) * states;
  if (starts) load(h, starts + record, n, states);
  for (u32 first = at.first; first < at.end; first += STEPS) {
    u32 count = min(STEPS, at.end - first);
    Marks mark = {0, 0};
    if (!broken) {
      mark = marks(call.route, at.batch, first, count);
      __syncthreads();
      stage(call, at, first, count, shared);
      stage_inputs(call, at, first, count, x);
    }
    __syncthreads();
#pragma unroll 1
    for (u32 t = 0; t < count && !broken; ++t) {
      if (mark.begins >> t & 1)
        load(h, state_of(call, call.initial, call.route.find(at.batch, first + t).index, at.channel), n, states);
      f32* mine = x + 2 * (t * (BLOCK / lanes) + threadIdx.x / lanes);
      const f32* bc = shared + t * 2 * states + n;
      f32 delta = mine[0], u = mine[1], entry = delta * u, read = 0;
      sum += delta;
#pragma unroll
      for (u32 i = 0; i < FORWARD; ++i) {
        if (n + i >= states) continue;
        h[i] = __fmaf_rn(exp2f(delta * a[i]), h[i], entry * bc[i]);
        if (out) read = __fmaf_rn(bc[states + i], h[i], read);
      }
      if (out) read = lanes_sum(read, lanes);  // all lanes have read delta now
      if (out && at.lane == 0) mine[0] = __fmaf_rn(skip, u, read);
      if (last && at.active && mark.ends >> t & 1) {
        u32 index = call.route.find(at.batch, first + t).index;
        store(last + (u64(index) * call.channels + at.channel) * states, h, n, states);
      }
    }
    if (out) {
      __syncthreads();
      put_outputs(call, at, first, count, x, y, parts);
    }
  }
  if (ends && at.active) {
    store(ends + record, h, n, states);
    if (at.lane == 0) sums[at.record * call.channels + at.channel] = sum;
  }
}
