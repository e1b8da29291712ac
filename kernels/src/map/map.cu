// map: copy, cast, add and scale, entry by entry. Contract: mod.rs. Geometry: launch.rs.
//
//   A row is cut into parts of 2048 entries, a block each: thread j takes entries j, j + 256, .. of its part, so that
//   neighbours touch neighbours whatever the alignment. Rows lie in up to three dimensions of strides.
//
// Not yet run on a device.
#include "latens.cuh"

constexpr u32 THREADS = 256, EACH = 8;

// Dimensions 1 and 2 of the rows, their strides in x and in y, entries of a row, and parts of it.
#define SHAPE u64 n, u32 parts, u32 d1, u32 d2, u64 x0, u64 x1, u64 x2, u64 y0, u64 y1, u64 y2
#define SHAPE_OF_CALL n, parts, d1, d2, x0, x1, x2, y0, y1, y2

// work(x, y) on every pair of entries.
template <class X, class Y, class F> __device__ inline void each(const X* x, Y* y, SHAPE, F work) {
  u32 row = blockIdx.x / parts;
  u64 first = u64(blockIdx.x % parts) * (THREADS * EACH) + threadIdx.x;
  u32 i0 = row / d2 / d1, i1 = row / d2 % d1, i2 = row % d2;
  x += i0 * x0 + i1 * x1 + i2 * x2;
  y += i0 * y0 + i1 * y1 + i2 * y2;
#pragma unroll
  for (u32 j = 0; j < EACH; ++j) {
    u64 i = first + j * THREADS;
    if (i < n) work(x[i], y[i]);
  }
}

#define COPY(T, name)                                                                    \
  LATENS_ENTRY(map_copy_##name, THREADS, const T* x, T* y, SHAPE) {                      \
    each(x, y, SHAPE_OF_CALL, [](T x, T& y) { y = x; });                                 \
  }
COPY(u8, u8)
COPY(u8, i8)
COPY(u32, u32)
COPY(u32, i32)
COPY(f32, f32)
COPY(f16, f16)
COPY(bf16, bf16)

// To U from T.
#define CAST(U, T)                                                                       \
  LATENS_ENTRY(map_cast_##U##_##T, THREADS, const T* x, U* y, SHAPE) {                   \
    each(x, y, SHAPE_OF_CALL, [](T x, U& y) { y = from_f32<U>(to_f32(x)); });            \
  }

#define ENTRIES(T)                                                                       \
  CAST(f32, T)                                                                           \
  CAST(f16, T)                                                                           \
  CAST(bf16, T)                                                                          \
  LATENS_ENTRY(map_add_##T, THREADS, const T* x, T* y, SHAPE) {                          \
    each(x, y, SHAPE_OF_CALL, [](T x, T& y) { y = from_f32<T>(to_f32(y) + to_f32(x)); }); \
  }                                                                                      \
  LATENS_ENTRY(map_scale_##T, THREADS, const T* x, T* y, SHAPE, f32 factor) {            \
    each(x, y, SHAPE_OF_CALL, [=](T x, T& y) { y = from_f32<T>(to_f32(x) * factor); });  \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
