// Train a selective scan on two ranks that exchange compressed gradients. All memory is this program's.
//
//   train_scan [STEPS]
//
// A scan of given inputs learns what another one, whose parameters it does not know, makes of them. Each rank has its own
// batch. The gradient of the decays, a matrix, goes through PowerSGD, that of the vectors through 8 bits; what is lost on
// the way is fed back. The sums between ranks, here of two arrays, are where MPI or NCCL stands in a real job.
#include <latens.hpp>

#include <cmath>
#include <cstdio>
#include <random>

namespace {

using latens::Tensor;
using Floats = std::vector<float>;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t ranks = 2, batch = 4, len = 48, channels = 64, states = 16, rank = 2, vectors = 2 * channels;
constexpr std::size_t matrix = channels * states, blocks = 2, block = 64;
static_assert(vectors == blocks * block);

const latens::Device host;

struct Random {
  std::mt19937 bits{1};
  std::normal_distribution<float> normal;
  Floats operator()(std::size_t count, float mean, float spread) {
    Floats numbers(count);
    for (float &x : numbers) x = mean + spread * normal(bits);
    return numbers;
  }
};

// a = -exp(decay) [channels, states]; vectors: bias of delta, skip.
struct Parameters {
  Floats decay, vector;
};

// What one rank reads, and what it should make of it.
struct Batch {
  Floats u, delta, b, c, y;

  explicit Batch(Random &random)
      : u(random(batch * len * channels, 0, 1)), delta(random(batch * len * channels, -2, 0.5f)), b(random(batch * len * states, 0, 1)),
        c(random(batch * len * states, 0, 0.3f)), y(batch * len * channels) {}

  latens::Scan call(const Parameters &p, Floats &a) const {
    a.resize(matrix);
    for (std::size_t i = 0; i < matrix; i++) a[i] = -std::exp(p.decay[i]);
    latens::Scan call;
    call.u = Tensor(u, {batch, len, channels}), call.delta = Tensor(delta, {batch, len, channels});
    call.a = Tensor(a, {channels, states}), call.b = Tensor(b, {batch, len, states}), call.c = Tensor(c, {batch, len, states});
    call.bias = Tensor(p.vector.data(), {channels}), call.skip = Tensor(p.vector.data() + channels, {channels});
    call.softplus = true;
    return call;
  }

  void forward(const Parameters &p, Floats &to) const {
    Floats a;
    latens::Scan call = this->call(p, a);
    Bytes work(latens::scan_workspace(host, call) + 1);
    latens::scan(host, call, Tensor(to, {batch, len, channels}), latens::none, Tensor(work));
  }

  // The mean squared error, and its gradients.
  double gradient(const Parameters &p, Floats &dmatrix, Floats &dvector) const {
    Floats out(y.size()), a, da(matrix);
    forward(p, out);
    double loss = 0;
    for (std::size_t i = 0; i < y.size(); i++) {
      float off = out[i] - y[i];
      loss += static_cast<double>(off) * off / static_cast<double>(y.size());
      out[i] = 2 * off / static_cast<float>(y.size());
    }
    latens::Scan call = this->call(p, a);
    latens::ScanGradients to;
    to.a = Tensor(da, {channels, states});
    to.bias = Tensor(dvector.data(), {channels}), to.skip = Tensor(dvector.data() + channels, {channels});
    Bytes work(latens::scan_backward_workspace(host, call) + 1);
    latens::scan_backward(host, call, Tensor(out, {batch, len, channels}), latens::none, to, Tensor(work));
    for (std::size_t i = 0; i < matrix; i++) dmatrix[i] = da[i] * a[i];
    return loss;
  }
};

// The mean of the ranks' arrays, to all of them.
void exchange(std::vector<Floats> &arrays) {
  for (std::size_t i = 0; i < arrays[0].size(); i++) {
    float sum = 0;
    for (const Floats &array : arrays) sum += array[i];
    for (Floats &array : arrays) array[i] = sum / ranks;
  }
}

// PowerSGD of the matrix.
struct LowRank {
  latens::Segments table{host, {0}, {channels}, {states}};
  std::vector<Floats> e{ranks, Floats(matrix)}, p{ranks, Floats(channels * rank)}, q;
  std::vector<std::uint32_t> dropped = {0};

  explicit LowRank(Random &random) : q(ranks, random(states * rank, 0, 1)) {}

  void operator()(const std::vector<Floats> &g, Floats &mean) {
    for (std::size_t r = 0; r < ranks; r++)
      latens::lowrank_left(host, table, Tensor(g[r]), Tensor(q[r], {states, rank}), Tensor(e[r]), Tensor(p[r], {channels, rank}), Tensor(dropped));
    exchange(p);
    for (std::size_t r = 0; r < ranks; r++) {
      Bytes work(latens::lowrank_orthogonalise_workspace(host, table, rank) + 1);
      latens::lowrank_orthogonalise(host, table, 7, Tensor(p[r], {channels, rank}), Tensor(work));
      latens::lowrank_right(host, table, Tensor(e[r]), Tensor(p[r], {channels, rank}), Tensor(q[r], {states, rank}));
    }
    exchange(q);
    for (std::size_t r = 0; r < ranks; r++)
      latens::lowrank_restore(host, table, Tensor(p[r], {channels, rank}), Tensor(q[r], {states, rank}), Tensor(e[r]), Tensor(mean));
  }
};

// The vectors in 8 bits: each rank sends codes, and the mean comes back as codes.
struct EightBits {
  LatensQuant settings{LATENS_FORMAT_SYMMETRIC, 8, block, 0, 0, 0};
  std::vector<Floats> error{ranks, Floats(vectors)};
  Floats rest = Floats(vectors), scales = Floats(ranks * blocks), one = Floats(blocks);
  Bytes codes = Bytes(ranks * vectors), mean_codes = Bytes(vectors);
  std::vector<std::uint32_t> dropped = {0};

  void operator()(const std::vector<Floats> &g, Floats &mean) {
    for (std::size_t r = 0; r < ranks; r++)
      latens::quant(host, Tensor(g[r]), settings, Tensor(error[r]), Tensor(&codes[r * vectors], {vectors}),
                    Tensor(&scales[r * blocks], {blocks, 1}), Tensor(dropped));
    latens::quant_sum(host, Tensor(codes, {ranks, vectors}), Tensor(scales, {ranks, blocks, 1}), vectors, 1.0f / ranks, settings, Tensor(rest),
                      Tensor(mean_codes), Tensor(one, {blocks, 1}), Tensor(dropped));
    latens::dequant(host, Tensor(mean_codes), Tensor(one, {blocks, 1}), settings, Tensor(mean));
  }
};

struct Adam {
  Floats m, v;
  explicit Adam(std::size_t count) : m(count), v(count) {}
  void operator()(Floats &w, const Floats &g, std::uint64_t step) {
    LatensAdamW settings{0.02, 0.9, 0.99, 1e-8, 0, step};
    latens::adamw(host, Tensor(g), settings, Tensor(w), Tensor(m), Tensor(v));
  }
};

int run(std::size_t steps) {
  Random random;
  const Parameters taught{random(matrix, -0.5f, 0.7f), random(vectors, 0, 0.5f)};
  Parameters learned{Floats(matrix), Floats(vectors)};
  LowRank lowrank(random);
  EightBits eight;
  Adam matrices(matrix), rest(vectors);
  std::vector<Floats> dmatrix(ranks, Floats(matrix)), dvector(ranks, Floats(vectors));
  Floats mean_matrix(matrix), mean_vector(vectors);
  double first = 0, last = 0;
  for (std::size_t step = 1; step <= steps; step++) {
    last = 0;
    for (std::size_t r = 0; r < ranks; r++) {
      Batch batch(random);
      batch.forward(taught, batch.y);
      last += batch.gradient(learned, dmatrix[r], dvector[r]) / ranks;
    }
    lowrank(dmatrix, mean_matrix);
    eight(dvector, mean_vector);
    matrices(learned.decay, mean_matrix, step);
    rest(learned.vector, mean_vector, step);
    if (step == 1) first = last;
    if (step == 1 || step % 50 == 0) std::printf("step %4zu  mean squared error %.5f\n", step, last);
  }
  std::size_t whole = sizeof(float) * (matrix + vectors);
  std::size_t sent = sizeof(float) * (rank * (channels + states) + blocks) + vectors;
  std::printf("a rank sends %zu bytes a step instead of %zu; the error fell from %.5f to %.5f\n", sent, whole, first, last);
  return last < 0.1 * first ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return run(argc > 1 ? std::stoul(argv[1]) : 300);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
