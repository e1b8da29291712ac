// Train a sparse autoencoder on activations that this program owns.
//
//   train_sae [--cuda] [--steps N] [--out FOLDER] [FILE DIM]
//
// FILE holds rows of DIM f32 numbers. Without it the rows are synthetic: sums of few random directions.
#include <latens.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>

namespace {

constexpr std::size_t planted_dim = 32, planted_count = 64, planted_active = 3, batch = 256;

struct Options {
  bool cuda = false;
  std::size_t steps = 600, dim = planted_dim;
  std::string out = "sae-checkpoint", file;
};

Options parse(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    if (!std::strcmp(argv[i], "--cuda")) options.cuda = true;
    else if (!std::strcmp(argv[i], "--steps") && i + 1 < argc) options.steps = std::stoul(argv[++i]);
    else if (!std::strcmp(argv[i], "--out") && i + 1 < argc) options.out = argv[++i];
    else if (argv[i][0] != '-' && i + 1 < argc) options.file = argv[i], options.dim = std::stoul(argv[++i]);
    else throw std::invalid_argument("usage: train_sae [--cuda] [--steps N] [--out FOLDER] [FILE DIM]");
  }
  return options;
}

std::vector<float> read(const std::string &path, std::size_t dim) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  std::size_t bytes = static_cast<std::size_t>(file.tellg()), row = dim * sizeof(float);
  if (!row || bytes % row || bytes / row < batch) throw std::runtime_error(path + ": not at least 256 rows of that width");
  std::vector<float> rows(bytes / sizeof(float));
  file.seekg(0).read(reinterpret_cast<char *>(rows.data()), static_cast<std::streamsize>(bytes));
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return rows;
}

std::vector<float> directions(std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> all(planted_count * planted_dim);
  for (std::size_t i = 0; i < planted_count; i++) {
    float *row = &all[i * planted_dim], length = 0;
    for (std::size_t d = 0; d < planted_dim; d++) row[d] = normal(random), length += row[d] * row[d];
    for (std::size_t d = 0; d < planted_dim; d++) row[d] /= std::sqrt(length);
  }
  return all;
}

std::vector<float> plant(const std::vector<float> &dictionary, std::size_t count, std::mt19937 &random) {
  std::uniform_real_distribution<float> strength(0.5f, 1.5f);
  std::vector<float> rows(count * planted_dim);
  for (std::size_t r = 0; r < count; r++)
    for (std::size_t a = 0; a < planted_active; a++) {
      std::size_t which = random() % planted_count;
      float by = strength(random);
      for (std::size_t d = 0; d < planted_dim; d++) rows[r * planted_dim + d] += by * dictionary[which * planted_dim + d];
    }
  return rows;
}

int run(const Options &options) {
  std::mt19937 random(1);
  std::vector<float> dictionary = directions(random);
  std::vector<float> rows = options.file.empty() ? plant(dictionary, 16384, random) : read(options.file, options.dim);
  if (options.file.empty()) std::puts("no FILE: rows are synthetic, sums of 3 out of 64 random directions");
  std::size_t dim = options.dim, count = rows.size() / dim;

  latens::Device device;
  if (options.cuda) device = latens::Device::cuda(0);
  LatensSaeSettings settings = latens::SaeTrainer::defaults(dim, 4 * dim, options.file.empty() ? planted_active : 32, options.steps);
  settings.k = std::min(settings.k, settings.latents);
  settings.batch = batch;
  settings.rate = 3e-3f;
  latens::SaeTrainer trainer(device, latens::Tensor(rows, {count, dim}), settings);

  float first = 0, last = 0;
  for (std::size_t step = 0; step < options.steps; step++) {
    std::size_t start = random() % (count - batch + 1);
    trainer.step(latens::Tensor(&rows[start * dim], {batch, dim}));
    if (step % 100 == 0 || step + 1 == options.steps) {
      LatensSaeMetrics now = trainer.metrics();
      std::printf("step %5llu  FVU %.4f  L0 %.2f  dead %.3f\n", static_cast<unsigned long long>(now.step), static_cast<double>(now.fvu),
                  static_cast<double>(now.l0), static_cast<double>(now.dead));
      if (step == 0) first = now.fvu;
      last = now.fvu;
    }
  }
  trainer.save(options.out);
  std::printf("checkpoint in %s; FVU fell from %.4f to %.4f\n", options.out.c_str(), static_cast<double>(first), static_cast<double>(last));
  return std::isfinite(last) && last < first ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
