// gate, slopes: what the decoder is given for what the encoder found, and the gradients of that. Contracts: gate.rs, slopes.rs.
// Geometry: launch/gate.rs. Not yet run on a device.
//
//   floor of gate: 12 * slots bytes;  of gate_backward: 16 * slots + 28 * n bytes, after the sort
//   floor of slopes: slots * (dim * size + 8) + rows * dim * size bytes
#pragma once
#include "order.cuh"

// A gate, latent by latent; what is null is 1, 0 and 1.
struct Gate {
  const f32 *scale, *shift, *weight;
  f32 floor;

  __device__ f32 factor(u32 latent) const { return scale ? scale[latent] : 1; }
  __device__ f32 term(u32 latent) const { return shift ? shift[latent] : 0; }
  __device__ f32 open(f32 v, f32 factor, f32 term) const {
    f32 y = __fmaf_rn(factor, v, term);
    return v > floor && y > 0 ? y : 0;
  }
};

// What is added to the gradient from the decoder: a penalty's slope, and that of the number of active latents.
struct Push {
  f32 by, of, step;
  bool tanh;

  __device__ f32 slope(f32 u) const {
    if (tanh) {
      f32 small = expf(-2 * of * u);
      return 4 * of * small / ((1 + small) * (1 + small));
    }
    return of == 1 ? 1 : u > 0 ? of * powf(u, of - 1) : 0;
  }
};

// A thread: a slot.
__device__ inline void gate(const Gate& gate, const f32* values, const u32* latents, f32* y, u32 slots, u32 n) {
  u64 slot = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (slot >= slots) return;
  u32 latent = latents[slot];
  y[slot] = latent < n ? gate.open(values[slot], gate.factor(latent), gate.term(latent)) : 0;
}

// A warp: a latent, whose slots it visits in sorted order, a lane every 32nd.
__device__ inline void gate_backward(const Gate& gate, const Push& push, const f32* values, const u32* items, const u32* starts,
                                     f32* slopes, f32* sums, u32 n) {
  u32 latent = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (latent >= n) return;
  f32 factor = gate.factor(latent), term = gate.term(latent), weight = gate.weight ? gate.weight[latent] : 1;
  f32 of_scale = 0, of_shift = 0, of_bar = 0, of_weight = 0;
  for (u32 h = starts[latent] + lane; h < starts[latent + 1]; h += 32) {
    u32 slot = items[h];
    f32 v = values[slot], y = gate.open(v, factor, term), pushed = push.by == 0 ? 0 : push.by * push.slope(weight * y);
    f32 s = __fmaf_rn(weight, pushed, slopes[slot]);
    slopes[slot] = y > 0 ? __fmaf_rn(factor, s, 0.0f) : 0;
    if (y > 0) {
      of_scale = __fmaf_rn(v, s, of_scale);
      of_shift += s;
      of_weight = __fmaf_rn(pushed, y, of_weight);
    }
    if (v < 2 * gate.floor) of_bar += __fmaf_rn(term + gate.floor, s, push.step);
  }
  of_scale = warp_sum(of_scale);
  of_shift = warp_sum(of_shift);
  of_bar = warp_sum(of_bar);
  of_weight = warp_sum(of_weight);
  if (lane > 0) return;
  sums[latent] = of_scale;
  sums[u64(n) + latent] = of_shift;
  sums[2 * u64(n) + latent] = gate.floor > 0 ? -of_bar / (2 * gate.floor) + 0.0f : 0;
  sums[3 * u64(n) + latent] = of_weight;
}

// A warp: a slot; lanes go over the columns, 16 bytes at a time. Slots of one row stand side by side, so its row of g is near.
template <class T>
__device__ void slopes(const u32* latents, Slots slots, const T* g, const T* w, f32* to, u32 rows, u32 dim, u32 n,
                       u64 g_stride, u64 w_stride) {
  constexpr u32 N = Pack<T>::N;
  u64 slot = u64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  u32 lane = threadIdx.x % 32, row;
  if (slot >= slots.slots) return;
  bool is = row_of(slots, slot, rows, row) && latents[slot] < n;
  u32 latent = is ? latents[slot] : 0, end = is ? dim : 0;
  f32 dot = 0;
  for (u32 column = lane * N; column < end; column += 32 * N) {
    Pack<T> a = fetch(g + row * g_stride + column, dim - column), b = fetch(w + latent * w_stride + column, dim - column);
#pragma unroll
    for (u32 c = 0; c < N; ++c) dot = __fmaf_rn(to_f32(a.x[c]), to_f32(b.x[c]), dot);
  }
  dot = warp_sum(dot);
  if (lane == 0) to[slot] = dot + 0.0f;
}
