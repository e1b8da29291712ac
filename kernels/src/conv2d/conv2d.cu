// conv2d: convolution of images whose channels lie last, and its gradients. Contract: mod.rs. Geometry: launch.rs.
//
//   A block makes 64 x 64 entries of a product, a thread 4 x 4 of them in registers: y is patches times taps, dx is dy where
//   it was read times taps, dw is dy times patches. No patch is ever written: for every 16 terms of the sum, each thread
//   works out where its entries lie, both sides go to shared memory as f32, barrier, 16 outer products, barrier.
//   Terms are added in their order. dw is summed over parts of the pixels, and these in order by a second launch.
//   Groups of few channels would leave tiles empty: there a thread makes one entry, its neighbour that of the next channel.
//
//   1. dx visits all taps, though with a stride only one in stride_y * stride_x of them has read a pixel.
//   Not yet run on a device.
#include "latens.cuh"

constexpr u32 TILE = 64, DEPTH = 16, PITCH = TILE + 4;

// channels and n are those of a group; a stride is that of image, row, column (of w: of a channel of y, row, column).
struct Shape {
  u32 height, width, channels, rows, columns, n, groups, taps_y, taps_x;
  u32 stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  u64 x_image, x_row, x_column, w_n, w_row, w_column, dy_image, dy_row, dy_column;

  __device__ u32 terms() const { return taps_y * taps_x * channels; }
};
#define SHAPE_ARGS                                                                                                     \
  u32 height, u32 width, u32 channels, u32 rows, u32 columns, u32 n, u32 groups, u32 taps_y, u32 taps_x, u32 stride_y, \
      u32 stride_x, u32 padding_y, u32 padding_x, u32 dilation_y, u32 dilation_x, u64 x_image, u64 x_row,              \
      u64 x_column, u64 w_n, u64 w_row, u64 w_column, u64 dy_image, u64 dy_row, u64 dy_column
#define SHAPE                                                                                                          \
  Shape{height,     width,      channels, rows,  columns,  n,   groups, taps_y,   taps_x,   stride_y, stride_x,        \
        padding_y,  padding_x,  dilation_y, dilation_x, x_image, x_row, x_column, w_n, w_row, w_column, dy_image,      \
        dy_row,     dy_column}

// A tap of w and a channel.
struct Tap { u32 u, v, channel; };
__device__ inline Tap tap_of(const Shape& s, u32 term, u32 channels) {
  u32 tap = term / channels;
  return {tap / s.taps_x, tap % s.taps_x, term % channels};
}

// A pixel of a batch of images of these sizes.
struct Pixel { u32 image, row, column; };
__device__ inline Pixel pixel_of(u32 at, u32 rows, u32 columns) {
  u32 row = at / columns;
  return {row / rows, row % rows, at % columns};
}

// What a tap reads for a pixel of y: padding is 0. Below zero numbers wrap round, past every height.
template <class T> __device__ inline f32 read(const Shape& s, const T* x, Pixel y, Tap tap, u32 group) {
  u32 row = y.row * s.stride_y + tap.u * s.dilation_y - s.padding_y;
  u32 column = y.column * s.stride_x + tap.v * s.dilation_x - s.padding_x;
  if (row >= s.height || column >= s.width) return 0.0f;
  return to_f32(x[y.image * s.x_image + row * s.x_row + column * s.x_column + u64(group) * s.channels + tap.channel]);
}

// The gradient of what tap (u, v) made of a pixel of x, in channel tap.channel of its group: 0 if it read none there.
template <class T> __device__ inline f32 readers(const Shape& s, const T* dy, Pixel x, Tap tap, u32 group) {
  u32 row = x.row + s.padding_y - tap.u * s.dilation_y, column = x.column + s.padding_x - tap.v * s.dilation_x;
  if (i32(row) < 0 || i32(column) < 0 || row % s.stride_y || column % s.stride_x) return 0.0f;
  row /= s.stride_y, column /= s.stride_x;
  if (row >= s.rows || column >= s.columns) return 0.0f;
  return to_f32(dy[x.image * s.dy_image + row * s.dy_row + column * s.dy_column + u64(group) * s.n + tap.channel]);
}

// o is a channel of all groups.
template <class T> __device__ inline f32 weight(const Shape& s, const T* w, u32 o, u32 u, u32 v, u32 channel) {
  return to_f32(w[o * s.w_n + u * s.w_row + v * s.w_column + channel]);
}

template <class T> __device__ inline f32 slope(const Shape& s, const T* dy, Pixel y, u32 o) {
  return to_f32(dy[y.image * s.dy_image + y.row * s.dy_row + y.column * s.dy_column + o]);
}

// sum += the products of terms begin..end. left(to, begin) and right(to, begin) put the next 16 of both sides, term by
// term, to shared memory.
template <class L, class R> __device__ void product(u32 begin, u32 end, L left, R right, f32 (&sum)[4][4]) {
  LATENS_SHARED(f32, sides);
  f32 *of_left = sides, *of_right = sides + DEPTH * PITCH;
  u32 row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  for (u64 at = begin; at < end; at += DEPTH) {
    left(of_left, u32(at));
    right(of_right, u32(at));
    __syncthreads();
    for (u32 c = 0; c < DEPTH; ++c)
      for (u32 i = 0; i < 4; ++i)
        for (u32 j = 0; j < 4; ++j) sum[i][j] += of_left[c * PITCH + row + i] * of_right[c * PITCH + column + j];
    __syncthreads();
  }
}

// The tile of a block: columns fastest, then groups, then rows.
struct Tile { u32 top, left, group; };
__device__ inline Tile tile_of(const Shape& s, u32 columns) {
  u32 wide = (columns + TILE - 1) / TILE, rest = blockIdx.x / wide;
  return {rest / s.groups * TILE, blockIdx.x % wide * TILE, rest % s.groups};
}

template <class T> __device__ void forward(const Shape& s, const T* x, const T* w, const f32* bias, T* y, u32 pixels) {
  Tile tile = tile_of(s, s.n);
  u32 terms = s.terms(), c = threadIdx.x % DEPTH, first = threadIdx.x / DEPTH, all = s.groups * s.n;
  Pixel at[4];
  for (u32 r = 0; r < 4; ++r) at[r] = pixel_of(tile.top + first + 16 * r, s.rows, s.columns);
  f32 sum[4][4] = {};
  product(0, terms,
          [&](f32* to, u32 begin) {
            Tap tap = tap_of(s, begin + c, s.channels);
            for (u32 r = 0; r < 4; ++r) {
              bool inside = begin + c < terms && tile.top + first + 16 * r < pixels;
              to[c * PITCH + first + 16 * r] = inside ? read(s, x, at[r], tap, tile.group) : 0.0f;
            }
          },
          [&](f32* to, u32 begin) {
            Tap tap = tap_of(s, begin + c, s.channels);
            for (u32 j = first; j < TILE; j += 16) {
              bool inside = begin + c < terms && tile.left + j < s.n;
              u32 o = tile.group * s.n + tile.left + j;
              to[c * PITCH + j] = inside ? weight(s, w, o, tap.u, tap.v, tap.channel) : 0.0f;
            }
          },
          sum);
  u32 row = tile.top + threadIdx.x / 16 * 4, column = tile.left + threadIdx.x % 16 * 4;
  for (u32 i = 0; i < 4 && row + i < pixels; ++i)
    for (u32 j = 0; j < 4 && column + j < s.n; ++j) {
      u32 o = tile.group * s.n + column + j;
      y[u64(row + i) * all + o] = from_f32<T>(sum[i][j] + (bias ? bias[o] : 0.0f));
    }
}

template <class T> __device__ void inputs(const Shape& s, const T* w, const T* dy, T* dx, u32 pixels, u32 add) {
  Tile tile = tile_of(s, s.channels);
  u32 terms = s.taps_y * s.taps_x * s.n, c = threadIdx.x % DEPTH, first = threadIdx.x / DEPTH;
  u32 all = s.groups * s.channels;
  Pixel at[4];
  for (u32 r = 0; r < 4; ++r) at[r] = pixel_of(tile.top + first + 16 * r, s.height, s.width);
  f32 sum[4][4] = {};
  product(0, terms,
          [&](f32* to, u32 begin) {
            Tap tap = tap_of(s, begin + c, s.n);
            for (u32 r = 0; r < 4; ++r) {
              bool inside = begin + c < terms && tile.top + first + 16 * r < pixels;
              to[c * PITCH + first + 16 * r] = inside ? readers(s, dy, at[r], tap, tile.group) : 0.0f;
            }
          },
          [&](f32* to, u32 begin) {
            u32 j = threadIdx.x % TILE;
            for (u32 c = threadIdx.x / TILE; c < DEPTH; c += 4) {
              Tap tap = tap_of(s, begin + c, s.n);
              bool inside = begin + c < terms && tile.left + j < s.channels;
              u32 o = tile.group * s.n + tap.channel;
              to[c * PITCH + j] = inside ? weight(s, w, o, tap.u, tap.v, tile.left + j) : 0.0f;
            }
          },
          sum);
  u32 row = tile.top + threadIdx.x / 16 * 4, column = tile.left + threadIdx.x % 16 * 4;
  for (u32 i = 0; i < 4 && row + i < pixels; ++i)
    for (u32 j = 0; j < 4 && column + j < s.channels; ++j) {
      T* to = dx + u64(row + i) * all + tile.group * s.channels + column + j;
      *to = from_f32<T>(add ? to_f32(*to) + sum[i][j] : sum[i][j]);
    }
}

// One part of the pixels, each * blockIdx.y and on: parts[part][o][term].
template <class T>
__device__ void weights(const Shape& s, const T* x, const T* dy, f32* parts, u32 pixels, u32 each) {
  u32 terms = s.terms(), all = s.groups * s.n;
  Tile tile = tile_of(s, terms);
  u32 begin = blockIdx.y * each, end = min(u64(begin) + each, u64(pixels)), e = threadIdx.x % TILE;
  Tap tap = tap_of(s, tile.left + e, s.channels);
  f32 sum[4][4] = {};
  product(begin, end,
          [&](f32* to, u32 at) {
            for (u32 c = threadIdx.x / TILE; c < DEPTH; c += 4) {
              bool inside = c < end - at && tile.top + e < s.n;
              Pixel y = pixel_of(at + c, s.rows, s.columns);
              to[c * PITCH + e] = inside ? slope(s, dy, y, tile.group * s.n + tile.top + e) : 0.0f;
            }
          },
          [&](f32* to, u32 at) {
            for (u32 c = threadIdx.x / TILE; c < DEPTH; c += 4) {
              bool inside = c < end - at && tile.left + e < terms;
              to[c * PITCH + e] = inside ? read(s, x, pixel_of(at + c, s.rows, s.columns), tap, tile.group) : 0.0f;
            }
          },
          sum);
  u32 row = tile.top + threadIdx.x / 16 * 4, column = tile.left + threadIdx.x % 16 * 4;
  for (u32 i = 0; i < 4 && row + i < s.n; ++i)
    for (u32 j = 0; j < 4 && column + j < terms; ++j)
      parts[(u64(blockIdx.y) * all + tile.group * s.n + row + i) * terms + column + j] = sum[i][j];
}

// ---- a thread for each entry ----
template <class T>
__device__ void forward_thin(const Shape& s, const T* x, const T* w, const f32* bias, T* y, u32 pixels) {
  u32 all = s.groups * s.n;
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(pixels) * all) return;
  u32 o = u32(at % all);
  Pixel pixel = pixel_of(u32(at / all), s.rows, s.columns);
  f32 sum = 0.0f;
  for (u32 u = 0; u < s.taps_y; ++u)
    for (u32 v = 0; v < s.taps_x; ++v)
      for (u32 c = 0; c < s.channels; ++c) sum += read(s, x, pixel, {u, v, c}, o / s.n) * weight(s, w, o, u, v, c);
  y[at] = from_f32<T>(sum + (bias ? bias[o] : 0.0f));
}

template <class T> __device__ void inputs_thin(const Shape& s, const T* w, const T* dy, T* dx, u32 pixels, u32 add) {
  u32 all = s.groups * s.channels;
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(pixels) * all) return;
  u32 c = u32(at % all), group = c / s.channels;
  Pixel pixel = pixel_of(u32(at / all), s.height, s.width);
  f32 sum = 0.0f;
  for (u32 u = 0; u < s.taps_y; ++u)
    for (u32 v = 0; v < s.taps_x; ++v)
      for (u32 o = 0; o < s.n; ++o)
        sum += readers(s, dy, pixel, {u, v, o}, group) * weight(s, w, group * s.n + o, u, v, c % s.channels);
  dx[at] = from_f32<T>(add ? to_f32(dx[at]) + sum : sum);
}

// A block: one term of 32 channels of y, 8 threads a channel: pixels in turn, then the eight in order.
template <class T>
__device__ void weights_thin(const Shape& s, const T* x, const T* dy, f32* parts, u32 pixels, u32 each) {
  __shared__ f32 eighths[256];
  u32 terms = s.terms(), all = s.groups * s.n, term = blockIdx.x % terms, o = blockIdx.x / terms * 32 + threadIdx.x % 32;
  u64 begin = u64(blockIdx.y) * each, end = min(begin + each, u64(pixels));
  f32 sum = 0.0f;
  if (o < all)
    for (u64 at = begin + threadIdx.x / 32; at < end; at += 8) {
      Pixel y = pixel_of(u32(at), s.rows, s.columns);
      sum += slope(s, dy, y, o) * read(s, x, y, tap_of(s, term, s.channels), o / s.n);
    }
  eighths[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= 32 || o >= all) return;
  for (u32 i = 1; i < 8; ++i) sum += eighths[i * 32 + threadIdx.x];
  parts[(u64(blockIdx.y) * all + o) * terms + term] = sum;
}

// The same for db.
template <class T> __device__ void biases(const Shape& s, const T* dy, f32* parts, u32 pixels, u32 each) {
  __shared__ f32 eighths[256];
  u32 all = s.groups * s.n, o = blockIdx.x * 32 + threadIdx.x % 32;
  u64 begin = u64(blockIdx.y) * each, end = min(begin + each, u64(pixels));
  f32 sum = 0.0f;
  if (o < all)
    for (u64 at = begin + threadIdx.x / 32; at < end; at += 8) sum += slope(s, dy, pixel_of(u32(at), s.rows, s.columns), o);
  eighths[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= 32 || o >= all) return;
  for (u32 i = 1; i < 8; ++i) sum += eighths[i * 32 + threadIdx.x];
  parts[u64(blockIdx.y) * all + o] = sum;
}

// Parts in order.
__device__ inline void sums(const f32* parts, f32* out, u32 count, u64 entries, u32 add) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= entries) return;
  f32 sum = add ? out[at] : 0.0f;
  for (u32 part = 0; part < count; ++part) sum += parts[part * entries + at];
  out[at] = sum;
}

LATENS_ENTRY(conv2d_sums_f32, 256, const f32* parts, f32* out, u32 count, u64 entries, u32 add) {
  sums(parts, out, count, entries, add);
}
#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(conv2d_forward_##T, 256, const T* x, const T* w, const f32* bias, T* y, u32 pixels, SHAPE_ARGS) {       \
    forward(SHAPE, x, w, bias, y, pixels);                                                                             \
  }                                                                                                                    \
  LATENS_ENTRY(conv2d_forward_thin_##T, 256, const T* x, const T* w, const f32* bias, T* y, u32 pixels, SHAPE_ARGS) {  \
    forward_thin(SHAPE, x, w, bias, y, pixels);                                                                        \
  }                                                                                                                    \
  LATENS_ENTRY(conv2d_inputs_##T, 256, const T* w, const T* dy, T* dx, u32 pixels, u32 add, SHAPE_ARGS) {              \
    inputs(SHAPE, w, dy, dx, pixels, add);                                                                             \
  }                                                                                                                    \
  LATENS_ENTRY(conv2d_inputs_thin_##T, 256, const T* w, const T* dy, T* dx, u32 pixels, u32 add, SHAPE_ARGS) {         \
    inputs_thin(SHAPE, w, dy, dx, pixels, add);                                                                        \
  }                                                                                                                    \
  LATENS_ENTRY(conv2d_weights_##T, 256, const T* x, const T* dy, f32* parts, u32 pixels, u32 each, SHAPE_ARGS) {       \
    weights(SHAPE, x, dy, parts, pixels, each);                                                                        \
  }                                                                                                                    \
  LATENS_ENTRY(conv2d_weights_thin_##T, 256, const T* x, const T* dy, f32* parts, u32 pixels, u32 each, SHAPE_ARGS) {  \
    weights_thin(SHAPE, x, dy, parts, pixels, each);                                                                   \
  }                                                                                                                    \
  LATENS_ENTRY(conv2d_biases_##T, 256, const T* dy, f32* parts, u32 pixels, u32 each, SHAPE_ARGS) {                    \
    biases(SHAPE, dy, parts, pixels, each);                                                                            \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
