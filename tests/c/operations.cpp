// Every operation of latens.hpp, called once on the host and compared with numbers worked out by hand: an argument in the
// wrong place shows. What the operations do on each device is the business of operations.c.
#include "support.hpp"

namespace {

void select() {
  Floats x{1, 3, 3, 2, -7, -1, 0, 5, 4, -7}, values(4), flat(3);
  Numbers indices(4), places(3), offsets(3);
  Tensor gaps = Tensor(x.data(), {2, 4}).strided({5, 1}); // the last of each five is a gap
  Scratch work(latens::topk_workspace(host, gaps, 2));
  latens::topk(host, gaps, 2, Tensor(values, {2, 2}), Tensor(indices, {2, 2}), work);
  SAME(values, 3, 3, 5, 4);
  SAME(indices, 1, 2, 2, 3);
  Scratch more(latens::topk_flat_workspace(host, gaps, 3));
  latens::topk_flat(host, gaps, 3, Tensor(flat), Tensor(places), Tensor(offsets), more);
  SAME(offsets, 0, 1, 3);
  SAME(places, 1, 2, 3);
}

void arithmetic() {
  Floats x{1, 2, 3, 4}, w{1, 0, 0, 1, 1, 1}, bias{10, 20, 30}, y(6), dy{1, 0, 0, 0, 0, 2}, dx(4), dw(6), db(3);
  latens::linear(host, Tensor(x, {2, 2}), Tensor(w, {3, 2}), Tensor(bias), Tensor(y, {2, 3}));
  SAME(y, 11, 22, 33, 13, 24, 37);
  latens::linear(host, Tensor(x, {2, 2}), Tensor(w, {3, 2}), none, Tensor(y, {2, 3}), LATENS_ACCUMULATE_ADD);
  SAME(y, 12, 24, 36, 16, 28, 44);
  latens::linear_backward(host, Tensor(x, {2, 2}), Tensor(w, {3, 2}), Tensor(dy, {2, 3}), Tensor(dx, {2, 2}), Tensor(dw, {3, 2}),
                          Tensor(db));
  SAME(dx, 1, 0, 2, 2);
  SAME(dw, 1, 2, 0, 0, 6, 8);
  SAME(db, 1, 0, 2);

  Floats sums(2), to{10, 20, 30, 40};
  latens::reduce(host, Tensor(x, {2, 2}), LATENS_REDUCE_SUM, 0, Tensor(sums));
  SAME(sums, 4, 6);
  latens::reduce(host, Tensor(x, {2, 2}), LATENS_REDUCE_MAX, 1, Tensor(sums));
  SAME(sums, 2, 4);
  latens::add(host, Tensor(x, {2, 2}), Tensor(to, {2, 2}));
  SAME(to, 11, 22, 33, 44);
  latens::scale(host, 0.5f, Tensor(to, {2, 2}));
  SAME(to, 5.5f, 11, 16.5f, 22);
  latens::copy(host, Tensor(x, {2, 2}), Tensor(to, {2, 2}));
  SAME(to, 1, 2, 3, 4);
  std::vector<double> wide(4);
  latens::cast(host, Tensor(x, {2, 2}), Tensor(wide, {2, 2}));
  SAME(wide, 1, 2, 3, 4);
}

void language() {
  const float root = std::sqrt(12.5f), c = std::cos(1.0f), s = std::sin(1.0f);
  Floats x{3, 4, -3, 4}, weight{1, 2}, bias{10, 20}, y(4), losses(2);
  Numbers ids{1, 0};
  Tensor tx(x, {2, 2}), ty(y, {2, 2});
  latens::rms_norm(host, tx, Tensor(weight), 0, ty);
  SAME(y, 3 / root, 8 / root, -3 / root, 8 / root);
  latens::layer_norm(host, tx, Tensor(weight), Tensor(bias), 0, ty);
  SAME(y, 9, 22, 9, 22);
  Floats dy{1, 0, 0, 1}, dweight(2), dbias(2);
  Scratch work(latens::norm_backward_workspace(host, tx));
  latens::rms_norm_backward(host, tx, Tensor(weight), Tensor(dy, {2, 2}), 0, ty, Tensor(dweight), work);
  SAME(y, 0.64f / root, -0.48f / root, 0.96f / root, 0.72f / root);
  SAME(dweight, 3 / root, 4 / root);
  latens::layer_norm_backward(host, tx, Tensor(weight), Tensor(dy, {2, 2}), 0, none, Tensor(dweight), Tensor(dbias), work,
                              LATENS_ACCUMULATE_ADD);
  SAME(dweight, 3 / root - 1, 4 / root + 1);
  SAME(dbias, 1, 1);
  latens::act(host, tx, none, LATENS_ACT_SILU, ty);
  SAME(y, 3 / (1 + std::exp(-3.0f)), 4 / (1 + std::exp(-4.0f)), -3 / (1 + std::exp(3.0f)), 4 / (1 + std::exp(-4.0f)));
  Floats zeros(4), up{1, 2, 3, 4}, dgate(4), dup(4);
  latens::act_backward(host, Tensor(zeros, {2, 2}), Tensor(up, {2, 2}), tx, LATENS_ACT_GELU, Tensor(dgate, {2, 2}), Tensor(dup, {2, 2}));
  SAME(dgate, 1.5f, 4, -4.5f, 8);
  SAME(dup, 0, 0, 0, 0);
  latens::embed(host, tx, Tensor(ids), ty);
  SAME(y, -3, 4, 3, 4);
  Floats table(6, 1);
  Numbers twice{2, 2};
  Scratch order(latens::embed_backward_workspace(host, tx, 3));
  latens::embed_backward(host, tx, Tensor(ids), Tensor(table, {3, 2}), order);
  SAME(table, -3, 4, 3, 4, 0, 0);
  latens::embed_backward(host, tx, Tensor(twice), Tensor(table, {3, 2}), order, LATENS_ACCUMULATE_ADD);
  SAME(table, -3, 4, 3, 4, 0, 8);
  latens::rope(host, Tensor(ids), 10000, LATENS_PAIRING_HALVES, Tensor(y, {2, 1, 2}));
  SAME(y, -3 * c - 4 * s, -3 * s + 4 * c, 3, 4);
  latens::rope_backward(host, Tensor(ids), 10000, LATENS_PAIRING_HALVES, Tensor(y, {2, 1, 2}));
  SAME(y, -3, 4, 3, 4);
  latens::cross_entropy(host, tx, Tensor(ids), Tensor(losses));
  SAME(losses, std::log(1 + std::exp(-1.0f)), 7 + std::log(1 + std::exp(-7.0f)));
  Floats dlosses{1, 2}, dx(4), even{5, 5, 0, 0};
  const float first = 1 / (1 + std::exp(1.0f)), second = 2 / (1 + std::exp(-7.0f)), half = std::log(2.0f);
  latens::cross_entropy_backward(host, tx, Tensor(ids), Tensor(dlosses), none, Tensor(dx, {2, 2}));
  SAME(dx, first, -first, -second, second);
  latens::cross_entropy_backward_in_place(host, Tensor(even, {2, 2}), Tensor(ids), Tensor(dlosses), Tensor(losses), 0.5f);
  SAME(losses, half, half);
  SAME(even, 0.25f, -0.25f, -0.5f, 0.5f);
  Floats goal{1, 4, -3, 0};
  latens::mse(host, tx, Tensor(goal, {2, 2}), Tensor(losses));
  SAME(losses, 2, 8);
  latens::mse_backward(host, tx, Tensor(goal, {2, 2}), Tensor(dlosses), none, Tensor(dx, {2, 2}));
  SAME(dx, 2, 0, 0, 8);
  Floats q{0, 0}, k{5, 6}, v{2, 4}, seen(2);
  Tensor tq(q, {1, 2, 1, 1}), tk(k, {1, 2, 1, 1}), tv(v, {1, 2, 1, 1}), ts(seen, {1, 2, 1, 1});
  // Equal weights: of one key and of two, then of two and two.
  Floats log(2), ones{1, 1}, gq(2), gk(2), gv(2);
  Tensor tl(log, {1, 2, 1}), tg(ones, {1, 2, 1, 1}), tgq(gq, {1, 2, 1, 1}), tgk(gk, {1, 2, 1, 1}), tgv(gv, {1, 2, 1, 1});
  latens::attention(host, tq, tk, tv, 1, 1, ts, tl);
  SAME(seen, 2, 3);
  SAME(log, 0, std::log(2.0f));
  Scratch rows(latens::attention_backward_workspace(host, tq, tk, tv));
  latens::attention_backward(host, tq, tk, tv, 1, 1, ts, tl, tg, tgq, tgk, tgv, rows);
  SAME(gv, 1.5f, 0.5f);
  SAME(gq, 0, 0.5f);
  SAME(gk, 0, 0);
  latens::attention(host, tq, tk, tv, 1, 0, ts);
  SAME(seen, 3, 3);
}

void steps() {
  const LatensAdamW settings{0.1, 0.9, 0.999, 1e-12, 0, 1};
  Floats w{1, 2}, g{0.5f, -4}, m(2), v(2), dec{1, 0}, dm(2), dv(2), squares(256), longer{3, 4};
  latens::adamw(host, Tensor(g), settings, Tensor(w), Tensor(m), Tensor(v));
  SAME(w, 0.9f, 2.1f);
  SAME(m, 0.05f, -0.4f);
  SAME(v, 0.00025f, 0.016f);
  latens::decoder_step(host, Tensor(g, {1, 2}), settings, Tensor(dec, {1, 2}), Tensor(dm, {1, 2}), Tensor(dv, {1, 2}));
  SAME(dec, 1 / std::sqrt(1.01f), 0.1f / std::sqrt(1.01f));
  SAME(dm, 0, -0.4f);
  latens::clip_squares(host, Tensor(longer), LATENS_ACCUMULATE_REPLACE, Tensor(squares));
  latens::clip_scale(host, Tensor(squares), 1, Tensor(longer));
  SAME(longer, 0.6f, 0.8f);
}

void compression() {
  Floats g{1, -5, NAN, 3, 3, 0.5f}, e{0, 1, 2, 0.5f, 0.25f, 0}, values(2), y(6);
  Numbers indices(2), counts{9, 9};
  Scratch work(latens::sparsify_workspace(host, Tensor(g), 2));
  latens::sparsify(host, Tensor(g), 2, Tensor(e), Tensor(values), Tensor(indices), Tensor(counts), work);
  SAME(values, -4, 3.5f);
  SAME(e, 1, 0, 2, 0, 3.25f, 0.5f);
  SAME(indices, 1, 3);
  SAME(counts, 2, 1);
  latens::sparsify_sum(host, Tensor(values, {1, 2}), Tensor(indices, {1, 2}), 0.5f, Tensor(y));
  SAME(y, 0, -2, 0, 1.75f, 0, 0);
  latens::Segments vectors(host, {0, 4}, {4, 2}), matrices(host, {0}, {2}, {3});
  if (vectors.count() == 2 && vectors.get() && matrices.count() == 1) return;
  std::printf("segments are not what they were made of\n");
  std::exit(1);
}

// Four latents along +x, +y, -x, -y; b_dec is (0.5, 0).
struct Autoencoder {
  Floats x{2, 1, -1, 3, 0.5f, -2}, w{1, 0, 0, 1, -1, 0, 0, -1}, b_enc = Floats(4), b_dec{0.5f, 0}, bias = Floats(4);
  Tensor tx{x, {3, 2}}, tw{w, {4, 2}};

  void encode() {
    Floats values(6), flat(4), one(3);
    Numbers latents(6), places(4), offsets(4), most(3), counts(3), subset{1, 2}, count{2};
    latens::sae_bias(host, tw, Tensor(b_enc), Tensor(b_dec), Tensor(bias));
    SAME(bias, -0.5f, 0, 0.5f, 0);
    Scratch work(latens::sae_encode_workspace(host, tx, tw, 2));
    latens::sae_encode(host, tx, tw, Tensor(bias), 2, Tensor(values, {3, 2}), Tensor(latents, {3, 2}), work);
    SAME(values, 1.5f, 1, 3, 1.5f, 2, 0);
    SAME(latents, 0, 1, 1, 2, 3, 4);
    Scratch of_flat(latens::sae_encode_flat_workspace(host, tx, tw, 4));
    latens::sae_encode_flat(host, tx, tw, Tensor(bias), 4, Tensor(flat), Tensor(places), Tensor(offsets), of_flat);
    SAME(flat, 1.5f, 3, 1.5f, 2);
    SAME(places, 0, 1, 2, 3);
    SAME(offsets, 0, 1, 3, 4);
    Scratch of_subset(latens::sae_encode_subset_workspace(host, tx, tw, 2, 1));
    latens::sae_encode_subset(host, tx, tw, Tensor(bias), Tensor(subset), Tensor(count), 1, Tensor(one, {3, 1}),
                              Tensor(most, {3, 1}), of_subset);
    SAME(one, 1, 3, 0);
    SAME(most, 1, 1, 4);
    Scratch of_threshold(latens::sae_encode_threshold_workspace(host, tx, tw, 1));
    latens::sae_encode_threshold(host, tx, tw, Tensor(bias), 1.2f, 1, Tensor(one, {3, 1}), Tensor(most, {3, 1}), Tensor(counts),
                                 of_threshold);
    SAME(one, 1.5f, 3, 2);
    SAME(most, 0, 1, 3);
    SAME(counts, 1, 2, 1);
  }

  void passes() {
    Floats values{1.5f, 3, 2}, recon(6), residual(6), error(3), g{1, 2, 3, 4, 5, 6};
    Floats dw_dec(8), dw_enc(8), db_enc(4), db_dec(2), dvalues(3);
    Numbers latents{0, 1, 3}, since(4, 10), list(4), count(1);
    Tensor tv(values, {3, 1}), tl(latents, {3, 1}), tg(g, {3, 2});
    Scratch work(latens::sae_decode_workspace(host, tl, none, tw, true));
    latens::sae_decode(host, tv, tl, none, tw, Tensor(b_dec), tx, Tensor(recon, {3, 2}), Tensor(residual, {3, 2}), Tensor(error),
                       work);
    SAME(recon, 2, 0, 0.5f, 3, 0.5f, -2);
    SAME(residual, 0, 1, -1.5f, 0, 0, 0);
    SAME(error, 1, 2.25f, 0);
    Scratch of_backward(latens::sae_backward_workspace(host, tl, none, tw));
    latens::sae_backward(host, tv, tl, none, tx, tg, tw, Tensor(b_dec), LATENS_ACCUMULATE_REPLACE, Tensor(dw_dec, {4, 2}),
                         Tensor(dw_enc, {4, 2}), Tensor(db_enc), Tensor(dvalues, {3, 1}), of_backward);
    SAME(dvalues, 1, 4, -6);
    SAME(dw_dec, 1.5f, 3, 9, 12, 0, 0, 10, 12);
    SAME(dw_enc, 1.5f, 1, -6, 12, 0, 0, 0, 12);
    SAME(db_enc, 1, 4, 0, -6);
    Scratch of_bias(latens::sae_bias_backward_workspace(host, tg, tw));
    latens::sae_bias_backward(host, tg, tw, Tensor(db_enc), LATENS_ACCUMULATE_REPLACE, Tensor(db_dec), of_bias);
    SAME(db_dec, 8, 2);
    latens::sae_track(host, tv, tl, none, 3, 0, Tensor(since));
    SAME(since, 0, 0, 13, 0);
    latens::sae_dead(host, Tensor(since), 13, Tensor(list), Tensor(count));
    SAME(list, 2, 4, 4, 4);
    SAME(count, 1);
  }

  // Factors, terms and a penalty between encoder and decoder.
  void gates() {
    Floats values{1.5f, 3, 2}, g{1, 2, 3, 4, 5, 6}, scale{2, 1, 1, 1}, shift{0, -1, 0, -3}, weight{1, 2, 1, 1};
    Floats y(3), slopes(3), sums(16), dw_dec(8), dw_enc(8), db_enc(4);
    Numbers latents{0, 1, 3};
    Tensor tv(values, {3, 1}), tl(latents, {3, 1}), tg(g, {3, 2}), ty(y, {3, 1}), ts(slopes, {3, 1});
    latens::sae_slopes(host, tv, tl, none, tg, tw, ts);
    SAME(slopes, 1, 4, -6);
    latens::sae_gate(host, tv, tl, none, 4, Tensor(scale), Tensor(shift), 0, ty);
    SAME(y, 3, 2, 0);
    Scratch of_gate(latens::sae_gate_backward_workspace(host, tl, none, 4));
    latens::sae_gate_backward(host, tv, tl, none, Tensor(scale), Tensor(shift), Tensor(weight), 0, LATENS_PENALTY_POWER, 1, 0.5f, 0, ts,
                              Tensor(sums, {4, 4}), of_gate);
    SAME(slopes, 3, 5, 0);
    SAME(sums, 2.25f, 15, 0, 0, 1.5f, 5, 0, 0, 0, 0, 0, 0, 1.5f, 1, 0, 0);
    Scratch of_backward(latens::sae_backward_workspace(host, tl, none, tw));
    latens::sae_weights_backward(host, ty, tl, none, tx, tg, Tensor(b_dec), ts, LATENS_ACCUMULATE_REPLACE, Tensor(dw_dec, {4, 2}),
                                 Tensor(dw_enc, {4, 2}), Tensor(db_enc), of_backward);
    SAME(dw_dec, 3, 6, 6, 8, 0, 0, 0, 0);
    SAME(dw_enc, 4.5f, 3, -7.5f, 15, 0, 0, 0, 0);
    SAME(db_enc, 3, 5, 0, 0);
  }
};

// Two channels through three rows: a decay of one half, and of none; and a convolution of differences.
void sequences() {
  Floats u{1, 2, 0, 4, 2, 0}, delta(6, 1), a{-0.6931471806f, 0}, b{1, 1, 2}, c{1, 2, 1}, y(6), last(2), skip{0, 1};
  Floats dy{0, 0, 0, 0, 1, 1}, du(6), da(2), db(3), dskip(2), state{4, 4}, row(2), bias{0, 0};
  latens::Scan call;
  call.u = Tensor(u, {1, 3, 2}), call.delta = Tensor(delta, {1, 3, 2}), call.a = Tensor(a, {2, 1});
  call.b = Tensor(b, {1, 3, 1}), call.c = Tensor(c, {1, 3, 1}), call.skip = Tensor(skip), call.bias = Tensor(bias);
  Scratch work(latens::scan_workspace(host, call));
  latens::scan(host, call, Tensor(y, {1, 3, 2}), Tensor(last, {1, 2, 1}), work);
  SAME(y, 1, 4, 1, 16, 4.25f, 6);
  SAME(last, 4.25f, 6);
  latens::ScanGradients to;
  to.u = Tensor(du, {1, 3, 2}), to.a = Tensor(da, {2, 1}), to.b = Tensor(db, {1, 3, 1}), to.skip = Tensor(dskip);
  Scratch more(latens::scan_backward_workspace(host, call));
  latens::scan_backward(host, call, Tensor(dy, {1, 3, 2}), none, to, more);
  SAME(du, 0.25f, 1, 0.5f, 1, 2, 3);
  SAME(da, 0.5f, 8);
  SAME(db, 2.25f, 4, 2);
  SAME(dskip, 2, 0);
  call.u = Tensor(u.data(), {1, 1, 2}), call.delta = Tensor(delta.data(), {1, 1, 2});
  call.b = Tensor(b.data(), {1, 1, 1}), call.c = Tensor(c.data(), {1, 1, 1});
  latens::scan_step(host, call, Tensor(state, {1, 2, 1}), Tensor(row, {1, 1, 2}));
  SAME(state, 3, 6);
  SAME(row, 3, 8);

  Floats weight{-1, 1, -1, 1}, window(2), dx(6), dweight(4);
  latens::Conv1d differences;
  differences.x = Tensor(u, {1, 3, 2}), differences.weight = Tensor(weight, {2, 2});
  Scratch scratch(latens::conv1d_workspace(host, differences));
  latens::conv1d(host, differences, Tensor(y, {1, 3, 2}), Tensor(window, {1, 1, 2}), scratch);
  SAME(y, 1, 2, -1, 2, 2, -4);
  SAME(window, 2, 0);
  Scratch third(latens::conv1d_backward_workspace(host, differences));
  latens::conv1d_backward(host, differences, Tensor(dy, {1, 3, 2}), none, Tensor(dx, {1, 3, 2}), Tensor(dweight, {2, 2}), none, none,
                          third);
  SAME(dx, 0, 0, -1, -1, 1, 1);
  SAME(dweight, 0, 2, 4, 0);
  Floats next{5, 5};
  latens::conv1d_step(host, Tensor(next, {1, 2}), Tensor(weight, {2, 2}), none, false, Tensor(window, {1, 1, 2}), Tensor(row, {1, 2}));
  SAME(row, 3, 5);
}

// A wrong call throws, with its status and the name of the argument.
void errors() {
  Floats x(4), y(6);
  try {
    latens::add(host, Tensor(x, {2, 2}), Tensor(y, {2, 3}));
  } catch (const latens::Error &error) {
    if (error.status() == LATENS_STATUS_SIZE && std::string(error.what()).find('y') != std::string::npos) return;
    std::printf("%s (%d)\n", error.what(), int(error.status()));
  }
  std::printf("a wrong call was taken\n");
  std::exit(1);
}

} // namespace

int main() {
  select();
  arithmetic();
  language();
  steps();
  compression();
  sequences();
  Autoencoder sae;
  sae.encode();
  sae.passes();
  sae.gates();
  errors();
  std::printf("latens %s: every operation from C++\n", latens::version().c_str());
}
