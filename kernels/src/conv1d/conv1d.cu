// conv1d: causal convolution of every channel along its sequence. Contract: mod.rs. Geometry: launch.rs.
//
//   A thread has a channel and RUN positions, so each step of a block reads one row's neighbouring channels, and the
//   last inputs stay in registers. Orders and sequences are read as they come: an order changes the row of a position,
//   the begin of a sequence refills the registers.
//   Backward makes the derivatives before SiLU again on the way; its sums over positions go to a record per run, which a
//   second kernel adds up in order. Where orders share columns, their gradients are added up last, in order.
//   floor: rows * (columns + channels) * size bytes forward; x and dy in, dx out backward.
//
// Not yet run on a device.
#include "route.cuh"

constexpr u32 RUN = 64, TAPS = 4;

template <class T> struct Call {
  const T* x;
  const f32 *weight, *bias;
  const T* initial;
  Route route;
  u32 channels, columns, orders, width, silu;
  u64 x_batch, x_row, weight_row;
};

// One channel of one batch entry.
template <class T> struct Lane {
  const Call<T>& call;
  u32 batch, channel, order;
  const T* x;
  f32 weight[TAPS], bias;

  __device__ Lane(const Call<T>& call, u32 batch, u32 channel) : call(call), batch(batch), channel(channel) {
    order = channel / (call.channels / call.orders);
    x = call.x + batch * call.x_batch + channel % call.columns;
#pragma unroll
    for (u32 w = 0; w < TAPS; ++w) {
      u32 skip = TAPS - call.width;  // the oldest taps of a narrow one are zero
      weight[w] = w < skip ? 0.0f : call.weight[channel * call.weight_row + (w - skip)];
    }
    bias = call.bias ? call.bias[channel] : 0.0f;
  }
  // Position p of the sequence, which may lie before it.
  __device__ T raw(const Sequence& s, i32 p) const {
    if (p >= i32(s.begin)) return x[u64(call.route.row(order, p)) * call.x_row];
    i32 before = i32(call.width) - 1 + p - i32(s.begin);
    if (before < 0 || !call.initial) return from_f32<T>(0.0f);
    return call.initial[(u64(s.index) * (call.width - 1) + before) * call.channels + channel];
  }
  // The inputs before position p, into all but the last register.
  __device__ void fill(f32 (&v)[TAPS], const Sequence& s, u32 p) const {
#pragma unroll
    for (u32 w = 0; w + 1 < TAPS; ++w)
      v[w] = TAPS - 1 - w < call.width ? to_f32(raw(s, i32(p) - i32(TAPS - 1 - w))) : 0.0f;
  }
  __device__ f32 pre(const f32 (&v)[TAPS]) const {
    f32 sum = bias;
#pragma unroll
    for (u32 w = 0; w < TAPS; ++w)
      if (w + call.width >= TAPS) sum = __fmaf_rn(weight[w], v[w], sum);
    return sum;
  }
};

__device__ inline void shift(f32 (&v)[TAPS]) {
#pragma unroll
  for (u32 w = 0; w + 1 < TAPS; ++w) v[w] = v[w + 1];
}

__device__ inline f32 silu(f32 x) { return x / (1.0f + expf(-x)); }
__device__ inline f32 silu_slope(f32 x) {
  f32 s = 1.0f / (1.0f + expf(-x));
  return s * (1.0f + x * (1.0f - s));
}

// Which run a block has: tiles of channels are the fast axis.
struct Run { u32 channel, first, end, batch; u64 record; };
__device__ inline Run run_of(u32 channels, u32 len) {
  u32 tiles = (channels + blockDim.x - 1) / blockDim.x, runs = (len + RUN - 1) / RUN;
  u32 run = blockIdx.x / tiles, first = run % runs * RUN;
  return {blockIdx.x % tiles * blockDim.x + threadIdx.x, first, min(first + RUN, len), run / runs, run};
}

template <class T> __device__ void forward(const Call<T>& call, T* y) {
  Run run = run_of(call.channels, call.route.len);
  if (run.channel >= call.channels) return;
  y += u64(run.batch) * call.route.len * call.channels + run.channel;
  if (call.route.broken()) {
    for (u32 p = run.first; p < run.end; ++p) y[u64(p) * call.channels] = from_f32<T>(not_a_number());
    return;
  }
  Lane<T> lane(call, run.batch, run.channel);
  Sequence s = {0, 0, 0};
  f32 v[TAPS];
  for (u32 p = run.first; p < run.end; ++p) {
    if (p >= s.end) {
      s = call.route.find(run.batch, p);
      lane.fill(v, s, p);
    }
    v[TAPS - 1] = to_f32(lane.raw(s, p));
    f32 pre = lane.pre(v);
    y[u64(call.route.row(lane.order, p)) * call.channels] = from_f32<T>(call.silu ? silu(pre) : pre);
    shift(v);
  }
}

// The end of every sequence: a thread has a channel of one.
template <class T> __device__ void last(const Call<T>& call, T* last) {
  u32 tiles = (call.channels + blockDim.x - 1) / blockDim.x, index = blockIdx.x / tiles;
  u32 channel = blockIdx.x % tiles * blockDim.x + threadIdx.x;
  if (channel >= call.channels) return;
  bool broken = call.route.broken();
  Sequence s = broken ? Sequence{0, 0, 0} : call.route.sequence(index);
  Lane<T> lane(call, call.route.bounds ? 0 : index, channel);
  for (u32 j = 0; j + 1 < call.width; ++j) {
    T x = broken ? from_f32<T>(not_a_number()) : lane.raw(s, i32(s.end) + i32(j) + 1 - i32(call.width));
    last[(u64(index) * (call.width - 1) + j) * call.channels + channel] = x;
  }
}

// Gradients of a run, and what they read besides.
template <class T> struct Back {
  const T *dy, *dlast;
  T* dx;          // where channels have columns of their own
  f32 *parts, *records;  // elsewhere; sums over the run: taps, then the bias
  u64 dy_batch, dy_row;
};

template <class T>
__device__ f32 slope_at(const Lane<T>& lane, const Back<T>& back, u32 p, const f32 (&v)[TAPS]) {
  f32 dy = to_f32(back.dy[lane.batch * back.dy_batch + lane.call.route.row(lane.order, p) * back.dy_row + lane.channel]);
  return lane.call.silu ? dy * silu_slope(lane.pre(v)) : dy;
}

// The gradient of an input at distance `left` from the end of its sequence, from d[w], that of the input w later.
template <class T>
__device__ f32 input_slope(const Lane<T>& lane, const Back<T>& back, const Sequence& s, i32 left, const f32 (&d)[TAPS]) {
  f32 sum = 0;
#pragma unroll
  for (u32 w = 0; w < TAPS; ++w)
    if (w < lane.call.width) sum = __fmaf_rn(lane.weight[TAPS - 1 - w], d[w], sum);
  i32 j = i32(lane.call.width) - 1 - left;
  if (back.dlast && j >= 0)
    sum += to_f32(back.dlast[(u64(s.index) * (lane.call.width - 1) + j) * lane.call.channels + lane.channel]);
  return sum;
}

template <class T> __device__ void backward(const Call<T>& call, const Back<T>& back) {
  Run run = run_of(call.channels, call.route.len);
  if (run.channel >= call.channels) return;
  Lane<T> lane(call, run.batch, run.channel);
  bool broken = call.route.broken();
  f32 taps[TAPS] = {}, bias = broken ? not_a_number() : 0.0f;
  for (u32 first = run.first; first < run.end;) {
    Sequence s = broken ? Sequence{0, first, run.end} : call.route.find(run.batch, first);
    u32 end = min(run.end, s.end);
    f32 v[TAPS], d[TAPS] = {};  // d[w] belongs to the position w after the one that is due
    if (!broken) lane.fill(v, s, first);
    for (u32 q = first; q < end + TAPS - 1; ++q) {
      f32 now = 0;
      if (!broken && q < s.end) {
        v[TAPS - 1] = to_f32(lane.raw(s, q));
        now = slope_at(lane, back, q, v);
        if (q < end) {
          bias += now;
#pragma unroll
          for (u32 w = 0; w < TAPS; ++w)
            if (w + call.width >= TAPS) taps[w] = __fmaf_rn(now, v[w], taps[w]);
        }
        shift(v);
      }
      shift(d);
      d[TAPS - 1] = now;
      if (q < first + TAPS - 1) continue;
      u32 p = q - (TAPS - 1), row = broken ? p : call.route.row(lane.order, p);
      f32 dx = broken ? not_a_number() : input_slope(lane, back, s, i32(s.end - p), d);
      u64 at = (u64(run.batch) * call.route.len + row) * call.channels + run.channel;
      if (back.dx) back.dx[at] = from_f32<T>(dx);
      if (back.parts) back.parts[at] = dx;
    }
    first = end;
  }
  if (!back.records) return;
  f32* record = back.records + run.record * (TAPS + 1) * call.channels + run.channel;
#pragma unroll
  for (u32 w = 0; w < TAPS; ++w) record[u64(w) * call.channels] = broken ? not_a_number() : taps[w];
  record[u64(TAPS) * call.channels] = bias;
}

// What came before each sequence: a thread has a channel of one.
template <class T> __device__ void backward_initial(const Call<T>& call, const Back<T>& back, T* dinitial) {
  u32 tiles = (call.channels + blockDim.x - 1) / blockDim.x, index = blockIdx.x / tiles;
  u32 channel = blockIdx.x % tiles * blockDim.x + threadIdx.x;
  if (channel >= call.channels) return;
  bool broken = call.route.broken();
  Sequence s = broken ? Sequence{0, 0, 0} : call.route.sequence(index);
  Lane<T> lane(call, call.route.bounds ? 0 : index, channel);
  // The first positions' gradients, after the positions before them, which have none.
  f32 v[TAPS], d[TAPS] = {};
  if (!broken) lane.fill(v, s, s.begin);
  dinitial += u64(index) * (call.width - 1) * call.channels + channel;
  for (u32 i = 0; i + 1 < TAPS; ++i) {
    u32 q = s.begin + i;
    f32 now = 0;
    if (q < s.end) {
      v[TAPS - 1] = to_f32(lane.raw(s, q));
      now = slope_at(lane, back, q, v);
      shift(v);
    }
    d[i + 1] = now;
  }
  for (i32 j = i32(call.width) - 2; j >= 0; --j) {
    // Input j of the state lies width - 1 - j before the first row: d[w] is that of the position w after it.
    f32 of[TAPS] = {};
    u32 before = call.width - 1 - u32(j);
#pragma unroll
    for (u32 w = 1; w < TAPS; ++w)
      for (u32 i = 1; i < TAPS; ++i)
        if (w >= before && w - before + 1 == i) of[w] = d[i];
    f32 sum = input_slope(lane, back, s, i32(s.end - s.begin) + i32(before), of);
    dinitial[u64(j) * call.channels] = from_f32<T>(broken ? not_a_number() : sum);
  }
}

// Sums over the runs of a channel, in order: a thread has a channel and one of its taps, or the bias.
__device__ inline void backward_sum(const f32* records, u64 runs, f32* dweight, f32* dbias, u32 channels, u32 width) {
  u32 tiles = (channels + blockDim.x - 1) / blockDim.x, w = blockIdx.x / tiles;
  u32 channel = blockIdx.x % tiles * blockDim.x + threadIdx.x;
  if (channel >= channels) return;
  f32 sum = 0;
  for (u64 first = 0; first < runs; first += RUN) {
    f32 some = 0;
    for (u64 run = first; run < min(first + RUN, runs); ++run) some += records[(run * (TAPS + 1) + w) * channels + channel];
    sum += some;
  }
  if (w == TAPS) {
    if (dbias) dbias[channel] = sum;
  } else if (dweight && w + width >= TAPS) {
    dweight[u64(channel) * width + (w + width - TAPS)] = sum;
  }
}

// dx where orders share columns: the sum over them.
template <class T> __device__ void backward_merge(const f32* parts, T* dx, u64 count, u32 columns, u32 orders) {
  u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const f32* from = parts + i / columns * columns * orders + i % columns;
  f32 sum = 0;
  for (u32 order = 0; order < orders; ++order) sum += from[u64(order) * columns];
  dx[i] = from_f32<T>(sum);
}

#define CALL_ARGS(T)                                                                                            \
  const T *x, const f32 *weight, const f32 *bias, const T *initial, LATENS_ROUTE_ARGS, u32 channels, u32 columns, \
      u32 count, u32 width, u32 silu, u64 x_batch, u64 x_row, u64 weight_row
#define CALL(T)                                                                                                 \
  Call<T>{x, weight, bias, initial, LATENS_ROUTE, channels, columns, count, width, silu, x_batch, x_row, weight_row}
#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(conv1d_forward_##T, 128, CALL_ARGS(T), T* y) { forward(CALL(T), y); }                            \
  LATENS_ENTRY(conv1d_last_##T, 128, CALL_ARGS(T), T* out) { last(CALL(T), out); }                              \
  LATENS_ENTRY(conv1d_backward_##T, 128, CALL_ARGS(T), const T* dy, const T* dlast, u64 dy_batch, u64 dy_row,   \
               T* dx, f32* parts, f32* records) {                                                               \
    backward(CALL(T), Back<T>{dy, dlast, dx, parts, records, dy_batch, dy_row});                                \
  }                                                                                                             \
  LATENS_ENTRY(conv1d_initial_##T, 128, CALL_ARGS(T), const T* dy, const T* dlast, u64 dy_batch, u64 dy_row,    \
               T* dinitial) {                                                                                   \
    backward_initial(CALL(T), Back<T>{dy, dlast, nullptr, nullptr, nullptr, dy_batch, dy_row}, dinitial);       \
  }                                                                                                             \
  LATENS_ENTRY(conv1d_merge_##T, 256, const f32* parts, T* dx, u64 count, u32 columns, u32 orders) {            \
    backward_merge(parts, dx, count, columns, orders);                                                          \
  }                                                                                                             \
  LATENS_ENTRY(conv1d_step_##T, 128, const T* x, const f32* weight, const f32* bias, T* state, u32 channels,    \
               u32 width, u32 silu, u64 x_row, u64 weight_row, T* y) {                                          \
    step(x, weight, bias, state, channels, width, silu, x_row, weight_row, y);                                  \
  }

// One row of every sequence: a thread has a channel of one, and moves its state on.
template <class T>
__device__ void step(const T* x, const f32* weight, const f32* bias, T* state, u32 channels, u32 width, u32 apply,
                     u64 x_row, u64 weight_row, T* y) {
  u32 tiles = (channels + blockDim.x - 1) / blockDim.x, batch = blockIdx.x / tiles;
  u32 channel = blockIdx.x % tiles * blockDim.x + threadIdx.x;
  if (channel >= channels) return;
  state += u64(batch) * (width - 1) * channels + channel;
  f32 sum = bias ? bias[channel] : 0.0f;
  for (u32 w = 0; w < width; ++w) {
    T v = w + 1 < width ? state[u64(w) * channels] : x[batch * x_row + channel];
    if (w > 0) state[u64(w - 1) * channels] = v;
    sum = __fmaf_rn(weight[channel * weight_row + w], to_f32(v), sum);
  }
  y[u64(batch) * channels + channel] = from_f32<T>(apply ? silu(sum) : sum);
}

LATENS_ROUTE_ENTRIES(conv1d)
LATENS_ENTRY(conv1d_sum_f32, 128, const f32* records, u64 runs, f32* dweight, f32* dbias, u32 channels, u32 width) {
  backward_sum(records, runs, dweight, dbias, channels, width);
}
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
