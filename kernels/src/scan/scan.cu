// scan: selective scan forward and backward. Contract: mod.rs. Geometry: launch.rs.
//
//   A channel has 1 to 32 lanes of a warp, each with a few states in registers, and goes through a chunk of positions in
//   order; a block has neighbouring channels of one order and one group, so it reads b and c once, into shared memory.
//   Where channels alone do not fill the device, or backward keeps states, chunks run side by side: one pass finds the end
//   of each from zero, carry() joins them (the decay of a whole chunk is that of the sum of its delta), the next starts right.
//   Backward has chunks of STEPS positions, all in registers: wants() and carry() bring what later rows want of a state.
//   Sums over channels and over chunks go to records that are added up in order. floor: one exponential per state and row.
//
// Not yet run on a device.
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
  u32 tile, batch, chunk, first, end, channel, lane, lanes, order, column;
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
  u32 within = at.tile % per_unit * each + threadIdx.x / lanes, base = at.tile / per_unit * call.unit;
  at.active = within < call.unit;
  at.channel = base + (at.active ? within : 0);
  at.lane = threadIdx.x % lanes;
  at.lanes = lanes;
  u32 width = call.channels / call.orders;
  at.order = base / width;
  at.column = at.channel % width;
  return at;
}

// b and c of up to STEPS positions, as f32, into shared memory: b of a position, then c.
template <class T> __device__ void stage(const Call<T>& call, const Place& at, u32 first, u32 count, f32* shared) {
  u32 group = at.channel / call.group;
  __syncthreads();
  for (u32 i = threadIdx.x; i < count * 2 * call.states; i += BLOCK) {
    u32 t = i / (2 * call.states), n = i % (2 * call.states);
    u64 row = call.route.row(at.order, first + t);
    u64 from = u64(group) * call.states + n;
    shared[i] = n < call.states ? to_f32(call.b[at.batch * call.b_batch + row * call.b_row + from])
                                : to_f32(call.c[at.batch * call.c_batch + row * call.c_row + (from - call.states)]);
  }
  __syncthreads();
}

// What a channel reads at a position.
template <class T, bool TAPS> struct Input {
  f32 raw, delta, u;
  __device__ Input(const Call<T>& call, const Place& at, const Sequence& s, u32 p) {
    u64 row = call.route.row(at.order, p);
    raw = to_f32(call.delta[at.batch * call.delta_batch + row * call.delta_row + at.channel]);
    if (call.bias) raw += call.bias[at.channel];
    delta = call.softplus ? softplus(raw) : raw;
    u32 column = at.channel % call.columns;
    const T* from = call.u + at.batch * call.u_batch + column;
    if (!TAPS || !call.taps) {
      u = to_f32(from[row * call.u_row]);
      return;
    }
    f32 sum = call.taps_bias ? call.taps_bias[at.channel] : 0.0f;
    for (u32 w = 0; w < call.tap_count; ++w) {
      f32 x = 0;
      u32 here = p + w + 1;  // the position of tap w, and the width of the convolution
      if (here >= s.begin + call.tap_count) {
        x = to_f32(from[call.route.row(at.order, here - call.tap_count) * call.u_row]);
      } else if (call.window) {
        u64 before = u64(s.index) * (call.tap_count - 1) + (p + w - s.begin);
        x = to_f32(call.window[before * call.channels + at.channel]);
      }
      sum = __fmaf_rn(call.taps[at.channel * call.taps_row + w], x, sum);
    }
    u = sum * sigmoid(sum);
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

// A chunk in order. Without y: only its end, and the sum of its delta (ends, sums). With y: from starts, to y or parts.
// LANES is the number of lanes of a channel, known when compiled for the usual sizes.
template <class T, u32 LANES>
__device__ void forward(const Call<T>& call, u32 lanes_, const f32* starts, f32* ends, f32* sums, T* y, f32* parts, f32* last) {
  LATENS_SHARED(f32, shared);
  const u32 lanes = LANES ? LANES : lanes_, states = call.states;
  Place at = place(call, lanes);
  bool broken = call.route.broken(), out = y || parts;
  u32 n = at.lane * FORWARD;
  f32 a[FORWARD], h[FORWARD] = {}, sum = 0;
  exponents(a, call.a + at.channel * call.a_row, n, states);
  f32 skip = call.skip ? call.skip[at.channel] : 0.0f;
  u64 record = (at.record * call.channels + at.channel) * states;
  if (starts) load(h, starts + record, n, states);
  Sequence s = {0, 0, 0};
  for (u32 first = at.first; first < at.end; first += STEPS) {
    u32 count = min(STEPS, at.end - first);
    if (!broken) stage(call, at, first, count, shared);
    for (u32 t = 0; t < count; ++t) {
      u32 p = first + t, row = p;
      f32 result = not_a_number();
      if (!broken) {
        if (p >= s.end) s = call.route.find(at.batch, p);
        if (p == s.begin) load(h, state_of(call, call.initial, s.index, at.channel), n, states);
        Input<T, true> x(call, at, s, p);
        const f32* bc = shared + t * 2 * states;
        f32 entry = x.delta * x.u, read = 0;
        sum += x.delta;
#pragma unroll
        for (u32 i = 0; i < FORWARD; ++i) {
          if (n + i >= states) continue;
          h[i] = __fmaf_rn(exp2f(x.delta * a[i]), h[i], entry * bc[n + i]);
          if (out) read = __fmaf_rn(bc[states + n + i], h[i], read);
        }
        if (out) result = __fmaf_rn(skip, x.u, lanes_sum(read, lanes));
        row = call.route.row(at.order, p);
      }
      if (at.active && at.lane == 0 && out) {
        u64 in_batch = u64(at.batch) * call.route.len + row;
        if (parts) {
          parts[in_batch * call.channels + at.channel] = result;
        } else {
          u32 width = call.channels / call.orders;
          if (call.gate) {
            f32 z = to_f32(call.gate[at.batch * call.gate_batch + row * call.gate_row + at.column]);
            result *= z * sigmoid(z);
          }
          y[in_batch * width + at.column] = from_f32<T>(result);
        }
      }
      if (!broken && last && at.active && p + 1 == s.end)
        store(last + (u64(s.index) * call.channels + at.channel) * states, h, n, states);
    }
  }
  if (ends && at.active) {
    store(ends + record, h, n, states);
    if (at.lane == 0) sums[at.record * call.channels + at.channel] = sum;
  }
}

// Whether a sequence begins in the chunk, or, backward, ends in it: what enters does not leave then.
__device__ inline bool cut(const Route& route, u32 first, u32 end, bool back) {
  if (!route.bounds) return back ? end == route.len : first == 0;
  // A bound in first..end, or one later.
  u32 from = first + back, low = 0, high = route.sequences + 1;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if (route.bounds[middle] < from) low = middle + 1; else high = middle;
  }
  return low <= route.sequences && route.bounds[low] < end + back;
}

// From the ends of chunks to their starts, in place; backward the other way round. A thread has a state of a channel.
__device__ inline void carry(const Route& route, f32* all, const f32* sums, const f32* a, u64 a_row, u32 channels, u32 states,
                             u32 chunk, u32 back) {
  u32 per_batch = (channels * states + BLOCK - 1) / BLOCK, batch = blockIdx.x / per_batch;
  u32 i = blockIdx.x % per_batch * BLOCK + threadIdx.x;
  if (i >= channels * states || route.broken()) return;
  u32 channel = i / states, chunks = (route.len + chunk - 1) / chunk;
  f32 decay = a[channel * a_row + i % states] * LOG2_E, now = 0;
  for (u32 k = 0; k < chunks; ++k) {
    u32 j = back ? chunks - 1 - k : k, first = j * chunk;
    u64 record = u64(batch) * chunks + j;
    f32* at = all + record * channels * states + i;
    f32 found = *at;
    *at = now;
    bool through = !cut(route, first, min(first + chunk, route.len), back != 0);
    now = found + (through ? exp2f(decay * sums[record * channels + channel]) * now : 0.0f);
  }
}

// The state of a sequence without rows, and of all for broken tables: a thread has a number of one.
__device__ inline void fill(const Route& route, const f32* from, f32* to, u64 count, u64 each) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (route.broken()) {
    to[i] = not_a_number();
  } else {
    Sequence s = route.sequence(u32(i / each));
    if (s.begin == s.end) to[i] = from ? from[i] : 0.0f;
  }
}

// The sum over orders, by row and column; gated if there is a gate.
template <class T>
__device__ void merge(const f32* parts, const T* gate, T* y, u64 count, u32 width, u32 orders, u32 len, u64 gate_batch, u64 gate_row) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  u64 row = i / width, column = i % width;
  f32 sum = 0;
  for (u32 order = 0; order < orders; ++order) sum += parts[(row * orders + order) * width + column];
  if (gate) {
    f32 z = to_f32(gate[row / len * gate_batch + row % len * gate_row + column]);
    sum *= z * sigmoid(z);
  }
  y[i] = from_f32<T>(sum);
}

// The gradient of the gate, from the sums over orders before it.
template <class T>
__device__ void gate_slope(const f32* parts, const T* gate, const T* dy, T* dgate, u64 count, u32 width, u32 orders, u32 len,
                           u64 gate_batch, u64 gate_row, u64 dy_batch, u64 dy_row) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  u64 row = i / width, column = i % width, batch = row / len;
  f32 sum = 0;
  for (u32 order = 0; order < orders; ++order) sum += parts[(row * orders + order) * width + column];
  f32 z = to_f32(gate[batch * gate_batch + row % len * gate_row + column]), s = sigmoid(z);
  dgate[i] = from_f32<T>(to_f32(dy[batch * dy_batch + row % len * dy_row + column]) * sum * s * (1.0f + z * (1.0f - s)));
}

// The gradient of a channel's output before the gate.
template <class T>
__device__ f32 output_slope(const Call<T>& call, const Place& at, u32 row, const T* dy, u64 dy_batch, u64 dy_row) {
  f32 g = to_f32(dy[at.batch * dy_batch + row * dy_row + at.column]);
  if (!call.gate) return g;
  f32 z = to_f32(call.gate[at.batch * call.gate_batch + row * call.gate_row + at.column]);
  return g * z * sigmoid(z);
}

// The sequence that has a position; a call, for code that is unrolled and seldom comes here.
__noinline__ __device__ u32 index_of(const Route& route, u32 batch, u32 p) { return route.find(batch, p).index; }

// What a block keeps of a chunk in shared memory: of each position and channel raw, delta, u and the gradient of the output;
// a bit for each position where a sequence begins or ends.
struct Kept { f32* x; u32 each, mine, begins, ends; };
template <class T>
__device__ Kept keep(const Call<T>& call, const Place& at, f32* shared, const T* dy, u64 dy_batch, u64 dy_row) {
  Kept kept = {shared, BLOCK / at.lanes, threadIdx.x / at.lanes, 0, 0};
  Sequence s = {0, 0, 0};
#pragma unroll 1
  for (u32 p = at.first; p < at.end; ++p) {
    u32 t = p - at.first, row = call.route.row(at.order, p);
    if (p >= s.end) s = call.route.find(at.batch, p);
    kept.begins |= u32(p == s.begin) << t;
    kept.ends |= u32(p + 1 == s.end) << t;
    if (at.lane) continue;
    Input<T, false> x(call, at, s, p);
    f32* to = kept.x + (t * kept.each + kept.mine) * 4;
    to[0] = x.raw;
    to[1] = x.delta;
    to[2] = x.u;
    to[3] = output_slope(call, at, row, dy, dy_batch, dy_row);
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
      if (kept.ends >> t & 1)
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
    if (kept.begins >> t & 1)
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
    if (kept.ends >> t & 1)
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
    if (kept.begins >> t & 1 && at.active && to.dinitial)
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
  Kept kept = {nullptr, 0, 0, 0, 0};
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

// Sums over tiles of a group, in order: a thread has a number of db or dc.
template <class T>
__device__ void merge_tiles(const f32* tiles, T* db, T* dc, u64 rows, u32 states, u32 groups, u32 per_group) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows * groups * states) return;
  u64 row = i / (u64(groups) * states), group = i / states % groups, n = i % states;
  f32 b = 0, c = 0;
  for (u32 k = 0; k < per_group; ++k) {
    const f32* from = tiles + ((group * per_group + k) * rows + row) * 2 * states + n;
    b += from[0];
    c += from[states];
  }
  if (db) db[i] = from_f32<T>(b);
  if (dc) dc[i] = from_f32<T>(c);
}

// Sums over chunks: a block has 32 channels of one kind of number, and 32 threads for each; then the 32 in order.
__device__ inline void merge_records(const f32* records, u64 count, f32* da, f32* dskip, f32* dbias, u32 channels, u32 states) {
  LATENS_SHARED(f32, some);
  u32 tiles = (channels + 31) / 32, kind = blockIdx.x / tiles, column = threadIdx.x % 32, part = threadIdx.x / 32;
  u32 channel = blockIdx.x % tiles * 32 + column;
  f32 sum = 0;
  for (u64 record = part; channel < channels && record < count; record += 32)
    sum += records[(record * (states + 2) + kind) * channels + channel];
  some[threadIdx.x] = sum;
  __syncthreads();
  if (part || channel >= channels) return;
  for (u32 i = 1; i < 32; ++i) sum += some[i * 32 + column];
  if (kind < states) {
    if (da) da[u64(channel) * states + kind] = sum;
  } else {
    f32* to = kind == states ? dskip : dbias;
    if (to) to[channel] = sum;
  }
}

#define CALL_ARGS(T)                                                                                               \
  const T *u, const T *delta, const f32 *a, const T *b, const T *c, const f32 *skip, const f32 *bias, const T *gate, \
      const f32 *taps, const f32 *taps_bias, const T *window, const f32 *initial, LATENS_ROUTE_ARGS, u32 channels,   \
      u32 columns, u32 states, u32 unit, u32 group, u32 order_count, u32 tap_count, u32 softplus, u32 chunk, u64 u_batch, \
      u64 u_row, u64 delta_batch, u64 delta_row, u64 b_batch, u64 b_row, u64 c_batch, u64 c_row, u64 gate_batch,     \
      u64 gate_row, u64 a_row, u64 taps_row
#define CALL(T)                                                                                                    \
  Call<T>{u, delta, a, b, c, skip, bias, gate, taps, taps_bias, window, initial, LATENS_ROUTE, channels, columns,   \
          states, unit, group, order_count, tap_count, softplus, chunk, u_batch, u_row, delta_batch, delta_row, b_batch, \
          b_row, c_batch, c_row, gate_batch, gate_row, a_row, taps_row}
#define FORWARD_ENTRY(T, name, LANES)                                                                              \
  LATENS_ENTRY(scan_forward_##name##_##T, 128, CALL_ARGS(T), u32 lanes, const f32* starts, f32* ends, f32* sums, T* y, \
               f32* parts, f32* last) {                                                                            \
    forward<T, LANES>(CALL(T), lanes, starts, ends, sums, y, parts, last);                                         \
  }
#define ENTRIES(T)                                                                                                 \
  FORWARD_ENTRY(T, 16, 2)                                                                                          \
  FORWARD_ENTRY(T, 32, 4)                                                                                          \
  FORWARD_ENTRY(T, 64, 8)                                                                                          \
  FORWARD_ENTRY(T, any, 0)                                                                                         \
  LATENS_ENTRY(scan_wants_##T, 128, CALL_ARGS(T), u32 lanes, const T* dy, u64 dy_batch, u64 dy_row, const f32* dlast, \
               f32* ends) {                                                                                        \
    wants(CALL(T), lanes, dy, dy_batch, dy_row, dlast, ends);                                                      \
  }                                                                                                                \
  LATENS_ENTRY(scan_backward_##T, 128, CALL_ARGS(T), u32 lanes, const T* dy, u64 dy_batch, u64 dy_row,             \
               const f32* dlast, const f32* starts, const f32* later, T* du, f32* du_parts, T* ddelta, f32* tiles, \
               f32* records, f32* dinitial, u64 rows) {                                                            \
    backward(CALL(T), lanes, dy, dy_batch, dy_row, dlast, starts, later,                                           \
             To<T>{du, ddelta, du_parts, tiles, records, dinitial}, rows);                                         \
  }                                                                                                                \
  LATENS_ENTRY(scan_merge_##T, 256, const f32* parts, const T* gate, T* y, u64 count, u32 width, u32 orders, u32 len, \
               u64 gate_batch, u64 gate_row) {                                                                     \
    merge(parts, gate, y, count, width, orders, len, gate_batch, gate_row);                                        \
  }                                                                                                                \
  LATENS_ENTRY(scan_gate_##T, 256, const f32* parts, const T* gate, const T* dy, T* dgate, u64 count, u32 width,   \
               u32 orders, u32 len, u64 gate_batch, u64 gate_row, u64 dy_batch, u64 dy_row) {                      \
    gate_slope(parts, gate, dy, dgate, count, width, orders, len, gate_batch, gate_row, dy_batch, dy_row);         \
  }                                                                                                                \
  LATENS_ENTRY(scan_tiles_##T, 256, const f32* tiles, T* db, T* dc, u64 rows, u32 states, u32 groups, u32 per_group) { \
    merge_tiles(tiles, db, dc, rows, states, groups, per_group);                                                   \
  }

LATENS_ROUTE_ENTRIES(scan)
LATENS_ENTRY(scan_carry_f32, 128, LATENS_ROUTE_ARGS, f32* all, const f32* sums, const f32* a, u64 a_row, u32 channels,
             u32 states, u32 chunk, u32 back) {
  carry(LATENS_ROUTE, all, sums, a, a_row, channels, states, chunk, back);
}
LATENS_ENTRY(scan_fill_f32, 256, LATENS_ROUTE_ARGS, const f32* from, f32* to, u64 count, u64 each) {
  fill(LATENS_ROUTE, from, to, count, each);
}
LATENS_ENTRY(scan_records_f32, 1024, const f32* records, u64 count, f32* da, f32* dskip, f32* dbias, u32 channels, u32 states) {
  merge_records(records, count, da, dskip, dbias, channels, states);
}
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
