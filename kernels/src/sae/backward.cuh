// backward: one visit of each latent gives its rows of dW_dec and dW_enc, its db_enc and the gradients of its values.
// Contract: backward.rs. Geometry: launch/backward.rs. Not yet run on a device.
//
//   floor: slots * (2 * dim * size + 12) + n * dim * (size + 8) + 4 * n bytes; rows of g are read twice, the second
//          time from cache
#pragma once
#include "order.cuh"

constexpr u32 CHUNK = 512;  // hits that one block visits; more are added up in order of chunks

// What all visits read.
template <class T> struct Batch {
  const f32 *values, *b_dec;
  const T *x, *g, *w;
  const u32 *items, *rows, *starts;
  f32* dvalues;
  u32 dim, n;
  u64 x_stride, g_stride, w_stride;
  u32 given;  // whether dvalues are read, and not w
};

// Where sums go: a latent's rows of the gradients, or a chunk's record.
struct Sums {
  f32 *dec, *enc, *bias;
  bool add;
};

template <u32 N> __device__ void put(f32* to, u32 left, const f32 (&sum)[N], bool add) {
#pragma unroll
  for (u32 c = 0; c < N; c += 4) {
    if (c >= left) return;
    Pack<f32> pack, old = {};
    if (add) old = fetch(to + c, left - c);
#pragma unroll
    for (u32 i = 0; i < 4; ++i) pack.x[i] = add ? old.x[i] + sum[c + i] : sum[c + i];
    place(to + c, left - c, pack);
  }
}

// One block: the hits begin..end of a latent in sorted order, at most CHUNK.
//   slopes   a warp takes a hit: the dot product of its row of g with w_dec, the gradient of its value
//   sums     a thread takes 16 bytes of columns, and the hits in order
template <class T> __device__ void visit_hits(const Batch<T>& b, u32 latent, u32 begin, u32 end, const Sums& to) {
  constexpr u32 N = Pack<T>::N;
  LATENS_SHARED(f32, slope);
  f32* value = slope + CHUNK;
  u32* row = reinterpret_cast<u32*>(value + CHUNK);
  u32 lane = threadIdx.x % 32, count = end - begin;
  const T* w = b.given ? nullptr : b.w + latent * b.w_stride;
  for (u32 h = threadIdx.x / 32; h < count; h += blockDim.x / 32) {
    u32 slot = b.items[begin + h], r = b.rows[slot];
    f32 v = b.values[slot], dot = 0;
    for (u32 column = lane * N; column < b.dim && !b.given; column += 32 * N) {
      Pack<T> g = fetch(b.g + r * b.g_stride + column, b.dim - column), of = fetch(w + column, b.dim - column);
#pragma unroll
      for (u32 c = 0; c < N; ++c) dot = __fmaf_rn(to_f32(g.x[c]), to_f32(of.x[c]), dot);
    }
    dot = warp_sum(dot);
    if (lane == 0) {
      row[h] = r;
      value[h] = v;
      slope[h] = b.given ? b.dvalues[slot] : v > 0 ? dot + 0.0f : 0;
      if (!b.given) b.dvalues[slot] = slope[h];
    }
  }
  __syncthreads();
  for (u32 column = threadIdx.x * N; column < b.dim; column += blockDim.x * N) {
    u32 left = b.dim - column;
    f32 dec[N] = {}, enc[N] = {}, base[N];
#pragma unroll
    for (u32 c = 0; c < N; ++c) base[c] = b.b_dec && c < left ? b.b_dec[column + c] : 0;
    for (u32 h = 0; h < count; ++h) {
      Pack<T> g = fetch(b.g + row[h] * b.g_stride + column, left), x = fetch(b.x + row[h] * b.x_stride + column, left);
#pragma unroll
      for (u32 c = 0; c < N; ++c) {
        dec[c] = __fmaf_rn(value[h], to_f32(g.x[c]), dec[c]);
        if (b.given || value[h] > 0) enc[c] = __fmaf_rn(slope[h], to_f32(x.x[c]) - base[c], enc[c]);
      }
    }
    put(to.dec + column, left, dec, to.add);
    put(to.enc + column, left, enc, to.add);
  }
  if (threadIdx.x < 32) {
    f32 sum = 0;
    for (u32 h = lane; h < count; h += 32) sum += slope[h];
    sum = warp_sum(sum);
    if (lane == 0) *to.bias = to.add ? *to.bias + sum : sum;
  }
  __syncthreads();  // the shared memory may be written again
}

// The record of a chunk: dec, enc and, apart, the bias. A chunk touches two hot latents at most: one that reaches its
// beginning, and one that begins later and reaches its end.
__device__ inline Sums record(f32* parts, u32 dim, u64 chunk, u32 side) {
  f32* at = parts + (chunk * 2 + side) * (2 * u64(dim) + 4);
  return {at, at + dim, at + 2 * u64(dim), false};
}

// One block: the CHUNK places from blockIdx.x on, of the latents that have more hits than that.
template <class T> __device__ void backward_hot(const Batch<T>& b, const u32* keys, f32* parts, u32 slots) {
  u32 begin = blockIdx.x * CHUNK, end = min(u64(slots), u64(begin) + CHUNK);
  u32 first = keys[begin], last = keys[end - 1];
  if (first < b.n && b.starts[first + 1] - b.starts[first] > CHUNK)
    visit_hits(b, first, begin, min(end, b.starts[first + 1]), record(parts, b.dim, blockIdx.x, 0));
  if (last != first && last < b.n && b.starts[last + 1] - b.starts[last] > CHUNK)
    visit_hits(b, last, b.starts[last], end, record(parts, b.dim, blockIdx.x, 1));
}

// One block: one latent. Visit its hits, or add up its chunks in order.
template <class T>
__device__ void backward(const Batch<T>& b, f32* parts, f32* dw_dec, f32* dw_enc, f32* db_enc, u32 add) {
  u32 latent = blockIdx.x, begin = b.starts[latent], end = b.starts[latent + 1];
  Sums to = {dw_dec + u64(latent) * b.dim, dw_enc + u64(latent) * b.dim, db_enc + latent, add != 0};
  if (begin == end && add) return;
  if (end - begin <= CHUNK) return visit_hits(b, latent, begin, end, to);
  u32 from = begin / CHUNK, until = (end - 1) / CHUNK;
  for (u32 c = threadIdx.x; c < 2 * b.dim + 1; c += blockDim.x) {
    f32 sum = 0;
    for (u32 chunk = from; chunk <= until; ++chunk) sum += record(parts, b.dim, chunk, begin > chunk * CHUNK).dec[c];
    f32* out = c < b.dim ? to.dec + c : c < 2 * b.dim ? to.enc + (c - b.dim) : to.bias;
    *out = add ? *out + sum : sum;
  }
}
