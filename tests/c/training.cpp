// A run of training that is interrupted goes on as if it had not been, and what it gives at a moment is what is saved then.
// On the host; with the argument "cuda", on GPU 0, where uninterrupted runs get rows of the device, and the others rows of the host.
#include "latens.hpp"
#include "support.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using Floats = std::vector<float>;
using Files = std::map<std::string, std::string>;

constexpr std::size_t dim = 8, latents = 24, batch = 16, cut = 19, steps = 36;
const char *const origin = R"({"model": "tiny", "hook": "blocks.3.hook_mlp_in", "context": 128, "begin": true})";

// A folder for what is saved, gone at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("latens-training-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string &name) const { return (path / name).string(); }
};

// Names and bytes.
Files files(const std::string &folder) {
  Files all;
  for (const auto &entry : fs::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    all[entry.path().filename().string()] = {std::istreambuf_iterator<char>(file), {}};
  }
  all.erase(".latens.lock");
  CHECK(all.size() == 2);
  return all;
}

// Sums of few directions; `turned` as what a transcoder predicts.
Floats drawn(std::size_t step, std::size_t count, bool turned) {
  std::mt19937 draw(static_cast<unsigned>(step));
  Floats rows(count * dim);
  for (std::size_t r = 0; r < count; r++)
    for (int part = 0; part < 3; part++) {
      std::size_t which = draw() % 12;
      float by = 0.5f + static_cast<float>(draw() % 100) / 100;
      for (std::size_t d = 0; d < dim; d++) {
        std::size_t to = turned ? dim - 1 - d : d;
        rows[r * dim + to] += by * static_cast<float>((which * 5 + d * d * 7) % 11) / 11 - 0.2f;
      }
    }
  return rows;
}

template <class Call> void refused(int line, LatensStatus want, const std::string &says, const Call &call) {
  std::string got = "nothing was refused";
  try {
    call();
  } catch (const latens::Error &error) {
    got = error.what();
    if (error.status() == want && got.find(says) != std::string::npos) return;
  }
  std::printf("line %d: expected %s: %s\n", line, says.c_str(), got.c_str());
  std::exit(1);
}
#define REFUSED(want, says, call) refused(__LINE__, LATENS_STATUS_##want, says, [&] { call; })

// Runs with some settings.
struct Kind {
  const Place &place;
  const latens::Device &device;
  std::string name, more;
  bool predicts;

  std::string settings(const std::string &also = "") const {
    return R"({"d": 8, "latents": 24, "k": 3, "steps": 36, "batch": 16, "rate": 0.01)" + more + also + "}";
  }

  latens::SaeTrainer begin() const {
    Floats x = drawn(1000, 256, false), y = drawn(1000, 256, true);
    latens::Tensor predicted(y, {256, dim});
    return {device, latens::Tensor(x, {256, dim}), settings(), predicts ? &predicted : nullptr};
  }

  // Steps `from` to `to` on rows of the host, or of the device.
  void go(latens::SaeTrainer &trainer, std::size_t from, std::size_t to, bool on_device) const {
    const Place host_place{};
    for (std::size_t step = from; step < to; step++) {
      Floats all[2] = {drawn(step, batch, false), drawn(step, batch, true)};
      Tensor x, y;
      TENSOR2(&x, on_device ? &place : &host_place, F32, all[0].data(), batch, dim);
      TENSOR2(&y, on_device ? &place : &host_place, F32, all[1].data(), batch, dim);
      const auto view = [&](Tensor &t) {
        float *data = static_cast<float *>(t.dl.data);
        return on_device ? latens::Tensor::on(device, data, {batch, dim}) : latens::Tensor(data, {batch, dim});
      };
      predicts ? trainer.step_to(view(x), view(y)) : trainer.step(view(x));
      device.wait();
      drop(&x, on_device ? &place : &host_place);
      drop(&y, on_device ? &place : &host_place);
    }
  }

  // What an autoencoder makes of rows: the numbers of their codes.
  Floats encoded(const latens::Autoencoder &own) const {
    Floats rows = drawn(2000, batch, false), values(batch * latents);
    std::vector<std::uint32_t> names(batch * latents);
    Tensor x, v, n;
    TENSOR2(&x, &place, F32, rows.data(), batch, dim);
    TENSOR2(&v, &place, F32, values.data(), batch, latents);
    TENSOR2(&n, &place, U32, names.data(), batch, latents);
    OK(latens_autoencoder_encode(own.get(), &x.dl, &v.dl, &n.dl));
    device.wait();
    fetch(&v, &place), fetch(&n, &place);
    for (Tensor *t : {&x, &v, &n}) drop(t, &place);
    values.insert(values.end(), names.begin(), names.end());
    return values;
  }

  void check(const Folder &folder) const {
    std::string state = folder / "state.safetensors";
    latens::SaeTrainer whole = begin();
    go(whole, 0, cut, true);
    latens::Autoencoder then = whole.snapshot();
    whole.save(folder / "then", LATENS_SAE_FORMAT_SAE_LENS, origin);
    go(whole, cut, steps, true);
    whole.save(folder / "whole");
    {
      latens::SaeTrainer first = begin();
      go(first, 0, cut, false);
      first.save_state(state);
    }
    for (const std::string &how : {settings(), std::string()}) {
      latens::SaeTrainer second =
          how.empty() ? latens::SaeTrainer::resume(device, state) : latens::SaeTrainer::resume(device, state, how);
      CHECK(second.metrics().step == cut);
      second.save(folder / "second", LATENS_SAE_FORMAT_SAE_LENS, origin);
      CHECK(files(folder / "second") == files(folder / "then"));
      go(second, cut, steps, false);
      CHECK(second.metrics().step == steps && second.metrics().fvu == whole.metrics().fvu);
      second.save(folder / "second");
      CHECK(files(folder / "second") == files(folder / "whole"));
    }
    CHECK(files(folder / "whole") != files(folder / "then"));
    snapshot(folder, then);
    others(folder, state);
    if (!predicts) through(folder);
    std::printf("%s: as uninterrupted\n", name.c_str());
  }

  // Steps on a loss of our own, the squared error: it is learned without the other; and what fails in it leaves all as it was.
  void through(const Folder &folder) const {
    latens::SaeTrainer trainer = begin();
    float first = 0;
    for (std::size_t step = 0; step < steps; step++) {
      Floats rows = drawn(step, batch, false);
      const latens::Tensor x(rows, {batch, dim});
      std::size_t calls = 0;
      trainer.step_through(x, 0.0f, [&](const float *recon, std::size_t count, std::size_t width, float *gradient) {
        CHECK(count == batch && width == dim);
        calls++;
        double loss = 0;
        for (std::size_t i = 0; i < rows.size(); i++) {
          const float off = recon[i] - rows[i];
          loss += off * off / batch;
          gradient[i] = 2 * off / batch;
        }
        return loss;
      });
      CHECK(calls == 1);
      if (step == 0) first = trainer.metrics().fvu;
    }
    CHECK(trainer.metrics().step == steps && trainer.metrics().fvu < 0.6f * first);
    trainer.save(folder / "through");
    const Files before = files(folder / "through");
    Floats rows = drawn(0, batch, false);
    const latens::Tensor x(rows, {batch, dim});
    bool caught = false;
    try {
      trainer.step_through(x, 1.0f, [](const float *, std::size_t, std::size_t, float *) -> double { throw 7; });
    } catch (int thrown) {
      caught = thrown == 7;
    }
    CHECK(caught);
    REFUSED(VALUE, "not finite", trainer.step_through(x, 1.0f, [](const float *, std::size_t, std::size_t, float *gradient) {
              gradient[0] = std::nanf("");
              return 0.0;
            }));
    const auto none = [](const float *, std::size_t, std::size_t, float *) { return 0.0; };
    REFUSED(VALUE, "squares: is -1", trainer.step_through(x, -1.0f, none));
    CHECK(latens_sae_trainer_step_through(trainer.get(), x.raw(), 1.0f, nullptr, nullptr) == LATENS_STATUS_NULL);
    trainer.save(folder / "through");
    CHECK(files(folder / "through") == before && trainer.metrics().step == steps);
  }

  // It is what was saved at its moment, though training went on.
  void snapshot(const Folder &folder, const latens::Autoencoder &then) const {
    then.save(folder / "again", LATENS_SAE_FORMAT_SAE_LENS, origin);
    CHECK(files(folder / "again") == files(folder / "then"));
    const std::string said = files(folder / "again")["cfg.json"];
    for (const char *part : {R"("model_name": "tiny")", R"("context_size": 128)", R"("prepend_bos": true)"})
      CHECK(said.find(part) != std::string::npos);
    then.save(folder / "again");
    CHECK(files(folder / "again")["cfg.json"].find("model_name") == std::string::npos);
    latens::Autoencoder opened(device, folder / "then");
    CHECK(then.latents() == latents && then.dim() == dim);
    CHECK(encoded(then) == encoded(opened));
  }

  // States of other runs, and files that are none.
  void others(const Folder &folder, const std::string &state) const {
    using latens::SaeTrainer;
    REFUSED(FILE, "sae_trainer_resume: " + state + ": is the state of a run with other settings",
            SaeTrainer::resume(device, state, settings(R"(, "seed": 7)")));
    REFUSED(FILE, "is the state of a run on other data", SaeTrainer::resume(device, state, settings(R"(, "data": "words")")));
    REFUSED(VALUE, "sae_trainer_resume: config: kay is no setting", SaeTrainer::resume(device, state, settings(R"(, "kay": 1)")));
    REFUSED(FILE, "sae_trainer_resume: cannot", SaeTrainer::resume(device, folder / "nothing"));
    REFUSED(FILE, "sae_trainer_resume: ", SaeTrainer::resume(device, folder / "then/sae_weights.safetensors"));
    SaeTrainer trainer = SaeTrainer::resume(device, state);
    REFUSED(FILE, "sae_trainer_save_state: cannot write", trainer.save_state(folder / "nothing/state.safetensors"));
    REFUSED(VALUE, "sae_trainer_save_as: origin: unknown field `modell`",
            trainer.save(folder / "nothing", LATENS_SAE_FORMAT_SAE_LENS, R"({"modell": "tiny"})"));
    CHECK(!fs::exists(folder / "nothing"));
  }
};

} // namespace

int main(int argc, char **argv) {
  bool cuda = argc > 1 && !std::strcmp(argv[1], "cuda");
  Place place = open_place(cuda);
  latens::Device device;
  if (cuda) device = latens::Device::cuda(0);
  Folder folder;
  const char *penalty = R"("weight": 0.5, "warm": 20, "cost": )";
  const std::string gated = std::string(R"(, "variant": {"gated": {"sparsity": {)") + penalty + R"({"power": 1}}}})";
  const std::string jump =
      std::string(R"(, "variant": {"jumprelu": {"width": 0.5, "start": 0.3, "sparsity": {)") + penalty + R"("count"}}})";
  Kind{place, device, "topk", "", false}.check(folder);
  Kind{place, device, "batchtopk, averaged", R"(, "variant": "batchtopk", "average": 0.9)", false}.check(folder);
  Kind{place, device, "gated", gated, false}.check(folder);
  Kind{place, device, "jumprelu", jump, false}.check(folder);
  Kind{place, device, "transcoder", jump + R"(, "transcode": {"skip": true})", true}.check(folder);
  OK(latens_device_free(place.handle));
}
