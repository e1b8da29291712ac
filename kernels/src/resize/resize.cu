// resize: images of other sizes, by sparse weights down and across. Contract: mod.rs. Geometry: launch.rs.
//
//   Two passes, one over each direction: a thread makes an entry of the result, its neighbour that of the next channel, as
//   the sum of a few pixels of its column or row with the weights of a table, in their order. What lies between the passes is
//   f32. The gradient is the same two passes by the turned tables, the other way round.
//
// Not yet run on a device.
#include "latens.cuh"

// Row i of a table: rows[3 i] is the first input, then where its weights begin, and how many. What would lead past the
// `inputs` or the `weights` there are is cut off: tables come from memory.
struct Table {
  const u32* rows;
  const f32* weights;
  u32 inputs, all;
};

// Strides of the images that are read.
struct From { u64 image, row, column; };

template <class I, class O>
__device__ void pass(const Table& table, const From& s, const I* from, O* to, u32 pixels, u32 height, u32 width,
                     u32 channels, u32 across, u32 add) {
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= u64(pixels) * channels) return;
  u32 pixel = u32(at / channels), line = pixel / width, j = pixel % width, i = line % height;
  from += line / height * s.image + at % channels;
  from += across ? i * s.row : j * s.column;
  const u32* row = table.rows + u64(3) * (across ? j : i);
  u32 first = min(row[0], table.inputs), start = min(row[1], table.all);
  u32 count = min(row[2], min(table.inputs - first, table.all - start));
  f32 sum = 0.0f;
  for (u32 k = 0; k < count; ++k) sum += table.weights[start + k] * to_f32(from[(first + k) * (across ? s.column : s.row)]);
  to[at] = from_f32<O>(add ? to_f32(to[at]) + sum : sum);
}

#define PASS(name, I, O)                                                                                              \
  LATENS_ENTRY(name, 256, const u32* rows, const f32* weights, const I* from, O* to, u32 pixels, u32 height,          \
               u32 width, u32 channels, u32 inputs, u32 all, u32 across, u32 add, u64 image, u64 of_row,              \
               u64 of_column) {                                                                                       \
    pass(Table{rows, weights, inputs, all}, From{image, of_row, of_column}, from, to, pixels, height, width,          \
         channels, across, add);                                                                                      \
  }
#define ENTRIES(T)               \
  PASS(resize_first_##T, T, f32) \
  PASS(resize_second_##T, f32, T)
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
