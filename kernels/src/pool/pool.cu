// pool: the largest entry or the mean of every window, and their gradients. Contract: mod.rs. Geometry: launch.rs.
//
//   A thread makes one entry, its neighbour that of the next channel: forward of y, from the pixels of its window in row
//   order; backward of dx, from the windows that hold it, in their order. Nothing is scattered, so nothing is added by chance.
//   The largest is kept with its place; a NaN gives way to any number, an equal one to none.
//
// Not yet run on a device.
#include "latens.cuh"

struct Shape {
  u32 height, width, channels, rows, columns, size_y, size_x, stride_y, stride_x, padding_y, padding_x, count_padding;
};
#define SHAPE_ARGS                                                                                                 \
  u32 height, u32 width, u32 channels, u32 rows, u32 columns, u32 size_y, u32 size_x, u32 stride_y, u32 stride_x, \
      u32 padding_y, u32 padding_x, u32 count_padding
#define SHAPE                                                                                                      \
  Shape{height, width, channels, rows, columns, size_y, size_x, stride_y, stride_x, padding_y, padding_x, count_padding}

struct Strides {
  u64 image, row, column;
  __device__ u64 at(u32 b, u32 i, u32 j, u32 c) const { return b * image + i * row + j * column + c; }
};

struct Range { u32 begin, end; };
__device__ inline Range pixels_of(u32 at, u32 size, u32 stride, u32 padding, u32 all) {
  u32 begin = at * stride;
  return {begin > padding ? begin - padding : 0, min(begin + size - padding, all)};
}
__device__ inline Range windows_of(u32 at, u32 size, u32 stride, u32 padding, u32 all) {
  at += padding;
  return {at + 1 > size ? (at + 1 - size + stride - 1) / stride : 0, min(at / stride + 1, all)};
}
__device__ inline Range rows_of(const Shape& s, u32 i) { return pixels_of(i, s.size_y, s.stride_y, s.padding_y, s.height); }
__device__ inline Range columns_of(const Shape& s, u32 j) { return pixels_of(j, s.size_x, s.stride_x, s.padding_x, s.width); }

__device__ inline f32 divisor(const Shape& s, Range rows, Range columns) {
  u64 inside = u64(rows.end - rows.begin) * (columns.end - columns.begin);
  return f32(s.count_padding ? u64(s.size_y) * s.size_x : inside);
}

// What entry a thread makes, of images of these sizes: false past the end.
struct Entry { u64 at; u32 b, i, j, c; };
__device__ inline bool entry_of(const Shape& s, u32 pixels, u32 rows, u32 columns, Entry& e) {
  e.at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e.at >= u64(pixels) * s.channels) return false;
  u32 pixel = u32(e.at / s.channels), row = pixel / columns;
  e.b = row / rows, e.i = row % rows, e.j = pixel % columns, e.c = u32(e.at % s.channels);
  return true;
}

template <class T>
__device__ void largest(const Shape& s, const Strides& x_strides, const T* x, T* y, u32* indices, u32 pixels) {
  Entry e;
  if (!entry_of(s, pixels, s.rows, s.columns, e)) return;
  Range rows = rows_of(s, e.i), columns = columns_of(s, e.j);
  T best = x[x_strides.at(e.b, rows.begin, columns.begin, e.c)];
  f32 top = to_f32(best);
  u32 index = rows.begin * s.width + columns.begin;
  for (u32 row = rows.begin; row < rows.end; ++row)
    for (u32 column = columns.begin; column < columns.end; ++column) {
      T entry = x[x_strides.at(e.b, row, column, e.c)];
      f32 number = to_f32(entry);
      if (number > top || (top != top && number == number)) best = entry, top = number, index = row * s.width + column;
    }
  y[e.at] = best;
  if (indices) indices[e.at] = index;
}

template <class T> __device__ void average(const Shape& s, const Strides& x_strides, const T* x, T* y, u32 pixels) {
  Entry e;
  if (!entry_of(s, pixels, s.rows, s.columns, e)) return;
  Range rows = rows_of(s, e.i), columns = columns_of(s, e.j);
  f32 sum = 0.0f;
  for (u32 row = rows.begin; row < rows.end; ++row)
    for (u32 column = columns.begin; column < columns.end; ++column) sum += to_f32(x[x_strides.at(e.b, row, column, e.c)]);
  y[e.at] = from_f32<T>(sum / divisor(s, rows, columns));
}

// slope(i, j) of every window that holds the entry of a thread.
template <class T, class F> __device__ void gather(const Shape& s, const Entry& e, T* dx, u32 add, F slope) {
  Range rows = windows_of(e.i, s.size_y, s.stride_y, s.padding_y, s.rows);
  Range columns = windows_of(e.j, s.size_x, s.stride_x, s.padding_x, s.columns);
  f32 sum = 0.0f;
  for (u32 i = rows.begin; i < rows.end; ++i)
    for (u32 j = columns.begin; j < columns.end; ++j) sum += slope(i, j);
  dx[e.at] = from_f32<T>(add ? to_f32(dx[e.at]) + sum : sum);
}

template <class T>
__device__ void largest_backward(const Shape& s, const Strides& dy_strides, const Strides& index_strides, const T* dy,
                                 const u32* indices, T* dx, u32 pixels, u32 add) {
  Entry e;
  if (!entry_of(s, pixels, s.height, s.width, e)) return;
  u32 here = e.i * s.width + e.j;
  gather(s, e, dx, add, [&](u32 i, u32 j) {
    return indices[index_strides.at(e.b, i, j, e.c)] == here ? to_f32(dy[dy_strides.at(e.b, i, j, e.c)]) : 0.0f;
  });
}

template <class T>
__device__ void average_backward(const Shape& s, const Strides& dy_strides, const T* dy, T* dx, u32 pixels, u32 add) {
  Entry e;
  if (!entry_of(s, pixels, s.height, s.width, e)) return;
  gather(s, e, dx, add, [&](u32 i, u32 j) {
    f32 share = 1.0f / divisor(s, rows_of(s, i), columns_of(s, j));
    return to_f32(dy[dy_strides.at(e.b, i, j, e.c)]) * share;
  });
}

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(pool_max_##T, 256, const T* x, T* y, u32* indices, u32 pixels, SHAPE_ARGS, u64 x_image, u64 x_row,      \
               u64 x_column) {                                                                                         \
    largest(SHAPE, Strides{x_image, x_row, x_column}, x, y, indices, pixels);                                          \
  }                                                                                                                    \
  LATENS_ENTRY(pool_average_##T, 256, const T* x, T* y, u32*, u32 pixels, SHAPE_ARGS, u64 x_image, u64 x_row,          \
               u64 x_column) {                                                                                         \
    average(SHAPE, Strides{x_image, x_row, x_column}, x, y, pixels);                                                   \
  }                                                                                                                    \
  LATENS_ENTRY(pool_max_backward_##T, 256, const T* dy, const u32* indices, T* dx, u32 pixels, u32 add, SHAPE_ARGS,    \
               u64 dy_image, u64 dy_row, u64 dy_column, u64 at_image, u64 at_row, u64 at_column) {                     \
    largest_backward(SHAPE, Strides{dy_image, dy_row, dy_column}, Strides{at_image, at_row, at_column}, dy, indices,   \
                     dx, pixels, add);                                                                                 \
  }                                                                                                                    \
  LATENS_ENTRY(pool_average_backward_##T, 256, const T* dy, const u32*, T* dx, u32 pixels, u32 add, SHAPE_ARGS,        \
               u64 dy_image, u64 dy_row, u64 dy_column, u64, u64, u64) {                                               \
    average_backward(SHAPE, Strides{dy_image, dy_row, dy_column}, dy, dx, pixels, add);                                \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
