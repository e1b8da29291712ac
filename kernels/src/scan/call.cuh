// What every kernel of scan is told, where its threads work, and what they read. Included by scan.cu alone.
#pragma once
#include "reduce.cuh"
#include "route.cuh"

constexpr u32 BLOCK = 128, STEPS = 16;
constexpr u32 FORWARD = 8, BACKWARD = 2;  // states of a lane at a time
constexpr f32 LOG2_E = 1.4426950408889634f;

template <class T> struct Call {
  const T *u, *delta;
  const f32* a;
  const T *b, *c;
  const f32 *skip, *bias;
  const T* gate;
  const f32 *taps, *taps_bias;
  const T* window;
  const f32* initial;
  Route route;
  u32 channels, columns, states, unit, group, orders, tap_count, softplus, chunk;
  u64 u_batch, u_row, delta_batch, delta_row, b_batch, b_row, c_batch, c_row, gate_batch, gate_row, a_row, taps_row;
};

__device__ inline f32 softplus(f32 x) { return x > 20.0f ? x : log1pf(expf(x)); }
__device__ inline f32 sigmoid(f32 x) { return 1.0f / (1.0f + expf(-x)); }

// Where a thread works: tiles of channels are the fast axis, then chunks, then batch entries.
struct Place {
  u32 tile, batch, chunk, first, end, lane, lanes, order;
  u32 base, within, channel;  // of the unit, of the block's first channel in it, of the thread
  bool active;
  u64 record;  // of the chunk
};
template <class T> __device__ Place place(const Call<T>& call, u32 lanes) {
  u32 each = BLOCK / lanes, per_unit = (call.unit + each - 1) / each, tiles = call.channels / call.unit * per_unit;
  u32 chunks = (call.route.len + call.chunk - 1) / call.chunk;
  Place at;
  at.tile = blockIdx.x % tiles;
  at.record = blockIdx.x / tiles;
  at.chunk = u32(at.record % chunks);
  at.batch = u32(at.record / chunks);
  at.first = at.chunk * call.chunk;
  at.end = min(at.first + call.chunk, call.route.len);
  at.base = at.tile / per_unit * call.unit;
  at.within = at.tile % per_unit * each;
  u32 mine = at.within + threadIdx.x / lanes;
  at.active = mine < call.unit;
  at.channel = at.base + (at.active ? mine : 0);
  at.lane = threadIdx.x % lanes;
  at.lanes = lanes;
  at.order = at.base / (call.channels / call.orders);
  return at;
}

// b and c of up to STEPS positions, as f32, into shared memory: b of a position, then c.
template <class T> __device__ void stage(const Call<T>& call, const Place& at, u32 first, u32 count, f32* shared) {
  u32 group = at.channel / call.group;
  for (u32 i = threadIdx.x; i < count * 2 * call.states; i += BLOCK) {
    u32 t = i / (2 * call.states), n = i % (2 * call.states);
    u64 row = call.route.row(at.order, first + t);
    u64 from = u64(group) * call.states + n;
    shared[i] = n < call.states ? to_f32(call.b[at.batch * call.b_batch + row * call.b_row + from])
                                : to_f32(call.c[at.batch * call.c_batch + row * call.c_row + (from - call.states)]);
  }
}

// Bits of the positions first.. of a chunk where a sequence begins or ends.
struct Marks { u32 begins, ends; };
__device__ inline Marks marks(const Route& route, u32 batch, u32 first, u32 count) {
  Marks found = {0, 0};
  Sequence s = {0, 0, 0};
#pragma unroll 1
  for (u32 t = 0; t < count; ++t) {
    if (first + t >= s.end) s = route.find(batch, first + t);
    found.begins |= u32(first + t == s.begin) << t;
    found.ends |= u32(first + t + 1 == s.end) << t;
  }
  return found;
}

// What a channel reads at a position.
template <class T, bool TAPS> struct Input {
  f32 raw, delta, u;
  __device__ Input(const Call<T>& call, u32 batch, u32 order, u32 channel, u32 p) {
    u64 row = call.route.row(order, p);
    raw = to_f32(call.delta[batch * call.delta_batch + row * call.delta_row + channel]);
    if (call.bias) raw += call.bias[channel];
    delta = call.softplus ? softplus(raw) : raw;
    const T* from = call.u + batch * call.u_batch + channel % call.columns;
    u = TAPS && call.taps ? convolved(call, from, batch, order, channel, p) : to_f32(from[row * call.u_row]);
  }
  __device__ static f32 convolved(const Call<T>& call, const T* from, u32 batch, u32 order, u32 channel, u32 p) {
    Sequence s = call.route.find(batch, p);
    f32 sum = call.taps_bias ? call.taps_bias[channel] : 0.0f;
#pragma unroll 1
    for (u32 w = 0; w < call.tap_count; ++w) {
      f32 x = 0;
      u32 here = p + w + 1;  // the position of tap w, and the width of the convolution
      if (here >= s.begin + call.tap_count) {
        x = to_f32(from[call.route.row(order, here - call.tap_count) * call.u_row]);
      } else if (call.window) {
        u64 before = u64(s.index) * (call.tap_count - 1) + (p + w - s.begin);
        x = to_f32(call.window[before * call.channels + channel]);
      }
      sum = __fmaf_rn(call.taps[channel * call.taps_row + w], x, sum);
    }
    return sum * sigmoid(sum);
  }
};

// States n, n + 1, .. of a channel, or zeros.
template <u32 N> __device__ void load(f32 (&to)[N], const f32* from, u32 n, u32 states) {
#pragma unroll
  for (u32 i = 0; i < N; ++i) to[i] = from && n + i < states ? from[n + i] : 0.0f;
}
template <u32 N> __device__ void store(f32* to, const f32 (&from)[N], u32 n, u32 states) {
#pragma unroll
  for (u32 i = 0; i < N; ++i)
    if (n + i < states) to[n + i] = from[i];
}
template <class T> __device__ const f32* state_of(const Call<T>& call, const f32* all, u32 sequence, u32 channel) {
  return all ? all + (u64(sequence) * call.channels + channel) * call.states : nullptr;
}
template <u32 N> __device__ void exponents(f32 (&a)[N], const f32* row, u32 n, u32 states) {
  load(a, row, n, states);
#pragma unroll
  for (u32 i = 0; i < N; ++i) a[i] *= LOG2_E;
}
// The sum over the lanes of a channel, for all of them.
__device__ inline f32 lanes_sum(f32 x, u32 lanes) {
  for (u32 by = lanes / 2; by; by /= 2) x += __shfl_xor_sync(~0u, x, by);
  return x;
}

// The sequence that has a position; a call, for code that is unrolled and seldom comes here.
__noinline__ __device__ u32 index_of(const Route& route, u32 batch, u32 p) { return route.find(batch, p).index; }
