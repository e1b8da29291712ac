// Memory in pieces of 16 bytes, the widest that one thread moves at once.
#pragma once
#include "latens.cuh"

// 16 bytes as N numbers.
template <class T> struct Pack {
  static constexpr u32 N = 16 / sizeof(T);
  T x[N];
};

__device__ inline bool aligned16(const void* p) { return reinterpret_cast<u64>(p) % 16 == 0; }

// `from` is a multiple of 16 bytes.
template <class T> __device__ inline Pack<T> load16(const T* from) {
  union { uint4 raw; Pack<T> pack; } u = {*reinterpret_cast<const uint4*>(from)};
  return u.pack;
}

// `to` is a multiple of 16 bytes.
template <class T> __device__ inline void store16(T* to, const Pack<T>& pack) {
  union { Pack<T> pack; uint4 raw; } u = {pack};
  *reinterpret_cast<uint4*>(to) = u.raw;
}

// The first `left` of N numbers at `from`, then zeros.
template <class T> __device__ Pack<T> fetch(const T* from, u32 left) {
  if (left >= Pack<T>::N && aligned16(from)) return load16(from);
  Pack<T> pack;
  for (u32 c = 0; c < Pack<T>::N; ++c) pack.x[c] = c < left ? from[c] : from_f32<T>(0);
  return pack;
}

// Write the first `left` of N numbers.
template <class T> __device__ void place(T* to, u32 left, const Pack<T>& pack) {
  if (left >= Pack<T>::N && aligned16(to)) return store16(to, pack);
  for (u32 c = 0; c < Pack<T>::N && c < left; ++c) to[c] = pack.x[c];
}

// visit(i, x[i] as f32) for every i < n, shared out over `threads` threads: whole packs if x is aligned, else one by
// one. Who visits what, and in which order, depends on n alone, so sums over it do not change with the address.
template <class T, class F> __device__ inline void visit(const T* x, u32 n, u32 thread, u32 threads, F visit) {
  constexpr u32 N = Pack<T>::N;
  bool whole = aligned16(x);
  for (u32 i = thread * N; i < n; i += threads * N) {
    if (whole && i + N <= n) {
      Pack<T> pack = load16(x + i);
#pragma unroll
      for (u32 j = 0; j < N; ++j) visit(i + j, to_f32(pack.x[j]));
    } else {
      for (u32 j = i; j < n && j < i + N; ++j) visit(j, to_f32(x[j]));
    }
  }
}
