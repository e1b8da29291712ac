// The operations of latens.hpp on codes, hypergraphs, factors and images, each called once on the host and compared with numbers
// worked out by hand, as operations.cpp does for the others.
#include "support.hpp"

namespace {

void entropy() {
  Floats x{1, 2, 3, 4}, values(8);
  Numbers counts(3);
  const LatensEntropy settings{LATENS_ESTIMATOR_GAUSSIAN, 0, 16, 0, 1, 0, 0};
  latens::Segments segments(host, {0}, {4});
  Scratch work(latens::entropy_workspace(host, segments, settings));
  latens::entropy(host, Tensor(x), segments, settings, Tensor(values, {1, 8}), Tensor(counts, {1, 3}), work);
  SAME(counts, 4, 0, 0);
  SAME(Floats(values.begin() + 3, values.begin() + 6), 1, 4, 2.5f);
}

void quant() {
  Floats x{127, -127, 0, 64}, error(4), scales(1), y(4), both(2);
  std::vector<std::uint8_t> codes(4), ranks(8), sum(4);
  Numbers dropped(1);
  const LatensQuant settings{LATENS_FORMAT_SYMMETRIC, 8, 32, 0, 0, 0};
  latens::quant(host, Tensor(x), settings, Tensor(error), Tensor(codes), Tensor(scales, {1, 1}), Tensor(dropped));
  latens::dequant(host, Tensor(codes), Tensor(scales, {1, 1}), settings, Tensor(y));
  SAME(y, 127, -127, 0, 64);
  SAME(error, 0, 0, 0, 0);
  for (std::size_t i = 0; i < 8; i++) ranks[i] = codes[i % 4];
  both = {scales[0], scales[0]};
  latens::quant_sum(host, Tensor(ranks, {2, 4}), Tensor(both, {2, 1, 1}), 4, 0.5f, settings, none, Tensor(sum), Tensor(scales, {1, 1}),
                    Tensor(dropped));
  latens::dequant(host, Tensor(sum), Tensor(scales, {1, 1}), settings, Tensor(y), LATENS_ACCUMULATE_ADD);
  SAME(y, 254, -254, 0, 128);
  SAME(dropped, 0);
  std::vector<std::uint8_t> message(latens::quant_message(4, settings)), back(4);
  latens::quant_write(Tensor(codes), Tensor(scales, {1, 1}), 4, settings, Tensor(message));
  SAME(message, 'L', 'T', 'N', 'Q', 1, 0, 8, 0, 32, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f,
       127, 129, 0, 64);
  const auto head = latens::quant_head(Tensor(message));
  if (head.first != 4 || head.second.format != settings.format || head.second.bits != 8 || head.second.block != 32) std::exit(1);
  latens::quant_read(Tensor(message), Tensor(back), Tensor(scales, {1, 1}));
  if (back != codes) std::exit(1);
}

// A picture of two by two with its class token in the middle.
void orders() {
  Numbers rows(5);
  latens::scan_order(host, LATENS_ORDER_COLUMN_REVERSE, 2, 2, Tensor(rows), 2);
  SAME(rows, 4, 1, 2, 3, 0);
}

void optimisers() {
  Floats w{1, 2}, g{0.5f, -4}, scales(2), m(2), u{1, 1};
  std::vector<std::uint8_t> mean(2), square(2);
  const LatensAdamW settings{0.1, 0.9, 0.999, 0, 0, 1};
  latens::adamw8(host, Tensor(g), settings, 64, Tensor(w), Tensor(mean), Tensor(square), Tensor(scales, {1, 2}));
  SAME(w, 0.9f, 2.1f);
  SAME(scales, -0.4f, 0.016f);
  if (mean[1] != 255 || square[1] != 255) std::exit(1);
  latens::signum(host, Tensor(g), 0.25, 0.5, 0, Tensor(u), Tensor(m));
  SAME(u, 0.75f, 1.25f);
  SAME(m, 0.25f, -2);
}

void statistics() {
  Floats x{1, 2, 3, 6, 5, 1}, y{2, 4, 6}, mean(2), variance(2), dx(6), r(2), saved(8), dy(3), dr{0, 1};
  latens::moments(host, Tensor(x, {3, 2}), 0, Tensor(mean), Tensor(variance));
  SAME(mean, 3, 3);
  SAME(variance, 8 / 3.0f, 14 / 3.0f);
  Floats slope{3, 1.5f};
  latens::moments_backward(host, Tensor(x, {3, 2}), Tensor(mean), none, Tensor(slope), 0, Tensor(dx, {3, 2}));
  SAME(dx, -4, -1, 0, 3, 4, -2);
  latens::pearson(host, Tensor(x, {3, 2}), Tensor(y, {3, 1}), Tensor(r), Tensor(saved, {4, 2}));
  SAME(r, 1, -2 / (std::sqrt(14.0f) * std::sqrt(8.0f)));
  dr = {1, 0};
  latens::pearson_backward(host, Tensor(x, {3, 2}), Tensor(y, {3, 1}), Tensor(r), Tensor(saved, {4, 2}), Tensor(dr),
                           Tensor(dx, {3, 2}), Tensor(dy, {3, 1}));
  SAME(dx, 0, 0, 0, 0, 0, 0);
  Floats means(4), squares(4);
  Numbers labels{1, 7, 1}, counts(2), ignored(1);
  Scratch work(latens::class_moments_workspace(host, Tensor(x, {3, 2}), 2));
  latens::class_moments(host, Tensor(x, {3, 2}), Tensor(labels), Tensor(counts), Tensor(means, {2, 2}), Tensor(squares, {2, 2}),
                        Tensor(ignored), work);
  SAME(counts, 0, 2);
  SAME(ignored, 1);
  SAME(means, 0, 0, 3, 1.5f);
  SAME(squares, 0, 0, 8, 0.5f);
}

void batches() {
  Floats x{1, 2, 3, 2}, weight{3, 1}, bias{0, 5}, y(4), mean(2), variance(2), dy{1, 0, 0, 1}, dx(4), dweight(2), dbias(2);
  latens::batch_norm(host, Tensor(x, {2, 2}), Tensor(weight), Tensor(bias), 0.25f, Tensor(y, {2, 2}), Tensor(mean), Tensor(variance));
  SAME(mean, 2, 2);
  SAME(variance, 1, 0);
  const float root = std::sqrt(1.25f);
  SAME(y, -3 / root, 5, 3 / root, 5);
  Floats of{1, 0}, spread{3.75f, 0.75f};
  latens::batch_norm_by(host, Tensor(x, {2, 2}), Tensor(of), Tensor(spread), Tensor(weight), none, 0.25f, Tensor(y, {2, 2}));
  SAME(y, 0, 2, 3, 2);
  Scratch work(latens::batch_norm_backward_workspace(host, Tensor(x, {2, 2})));
  latens::batch_norm_backward(host, Tensor(x, {2, 2}), Tensor(mean), Tensor(variance), Tensor(weight), Tensor(dy, {2, 2}), 0.25f,
                              Tensor(dx, {2, 2}), Tensor(dweight), Tensor(dbias), work);
  SAME(dbias, 1, 1);
  SAME(dweight, -1 / root, 0);
  // 3 / root (1/2 - u dweight / 2), of which u dweight is 1 / 1.25.
  SAME(dx, 0.3f / root, -1, -0.3f / root, 1);
}

void lowrank() {
  Floats g{1, 2, 3, 2, 4, 6}, e(6), q{1, 1, 1}, p(2), wider(6);
  Numbers dropped(1);
  latens::Segments table(host, {0}, {2}, {3});
  latens::lowrank_left(host, table, Tensor(g), Tensor(q, {3, 1}), Tensor(e), Tensor(p, {2, 1}), Tensor(dropped));
  SAME(p, 6, 12);
  Scratch work(latens::lowrank_orthogonalise_workspace(host, table, 1));
  latens::lowrank_orthogonalise(host, table, 1, Tensor(p, {2, 1}), work);
  SAME(p, 1 / std::sqrt(5.0f), 2 / std::sqrt(5.0f));
  latens::lowrank_right(host, table, Tensor(e), Tensor(p, {2, 1}), Tensor(q, {3, 1}));
  const float five = std::sqrt(5.0f);
  SAME(q, five, 2 * five, 3 * five);
  latens::lowrank_resize(host, table, Tensor(q, {3, 1}), 1, Tensor(wider, {3, 2}));
  SAME(Floats({wider[0], wider[2], wider[4]}), five, 2 * five, 3 * five);
  latens::lowrank_restore(host, table, Tensor(p, {2, 1}), Tensor(q, {3, 1}), Tensor(e), Tensor(g));
  SAME(g, 1, 2, 3, 2, 4, 6);

  // In 8 bits, from two ranks that sent the same.
  const LatensQuant settings{LATENS_FORMAT_SYMMETRIC, 8, 32, 0, 0, 0};
  Floats sent{1, -127, 64}, scales(2), sum(3);
  std::vector<std::uint8_t> codes(6);
  latens::lowrank_quantise(host, Tensor(sent, {3, 1}), settings, Tensor(codes.data(), {3}), Tensor(scales.data(), {1, 1}), Tensor(dropped));
  SAME(sent, 1, -127, 64);
  for (std::size_t i = 0; i < 3; i++) codes[i + 3] = codes[i];
  scales[1] = scales[0];
  latens::lowrank_sum(host, Tensor(codes, {2, 3}), Tensor(scales, {2, 1, 1}), 2, settings, Tensor(sum, {3, 1}));
  SAME(sum, 4, -508, 256);
}

// Two heads of one entry and one state through three rows: a decay of one half, and of none.
void ssd() {
  Floats x{1, 2, 0, 4, 2, 0}, delta(6, 1), a{-0.6931471806f, 0}, b{1, 1, 2}, c{1, 2, 1}, y(6), last(2), skip{0, 1};
  Floats dy{0, 0, 0, 0, 1, 1}, dx(6), da(2), db(3), dskip(2), state{4, 4}, row(2);
  latens::Ssd call;
  call.x = Tensor(x, {1, 3, 2}), call.delta = Tensor(delta, {1, 3, 2}), call.a = Tensor(a);
  call.b = Tensor(b, {1, 3, 1}), call.c = Tensor(c, {1, 3, 1}), call.skip = Tensor(skip);
  Scratch work(latens::ssd_workspace(host, call));
  latens::ssd(host, call, Tensor(y, {1, 3, 2}), Tensor(last, {1, 2, 1, 1}), work);
  SAME(y, 1, 4, 1, 16, 4.25f, 6);
  SAME(last, 4.25f, 6);
  latens::SsdGradients to;
  to.x = Tensor(dx, {1, 3, 2}), to.a = Tensor(da), to.b = Tensor(db, {1, 3, 1}), to.skip = Tensor(dskip);
  Scratch more(latens::ssd_backward_workspace(host, call));
  latens::ssd_backward(host, call, Tensor(dy, {1, 3, 2}), none, to, more);
  SAME(dx, 0.25f, 1, 0.5f, 1, 2, 3);
  SAME(da, 0.5f, 8);
  SAME(db, 2.25f, 4, 2);
  SAME(dskip, 2, 0);
  call.x = Tensor(x.data(), {1, 1, 2}), call.delta = Tensor(delta.data(), {1, 1, 2});
  call.b = Tensor(b.data(), {1, 1, 1}), call.c = Tensor(c.data(), {1, 1, 1});
  latens::ssd_step(host, call, Tensor(state, {1, 2, 1, 1}), Tensor(row, {1, 1, 2}));
  SAME(state, 3, 6);
  SAME(row, 3, 8);
}

// An image of 2 by 2 under taps of 1 by 2, in pieces, and made larger.
void images() {
  Floats x{1, 2, 3, 4}, w{1, 10}, bias{100}, y(2), dy{1, 2}, dx(4), dw(2), db(1), wide(6);
  Tensor tx(x, {1, 2, 2, 1}), tw(w, {1, 1, 2, 1}), ty(y, {1, 2, 1, 1}), tdy(dy, {1, 2, 1, 1}), tdx(dx, {1, 2, 2, 1});
  latens::Conv2d how;
  latens::conv2d(host, tx, tw, Tensor(bias), how, ty);
  SAME(y, 121, 143);
  Scratch work(latens::conv2d_backward_workspace(host, tx, tw, how));
  latens::conv2d_backward(host, tx, tw, tdy, how, tdx, Tensor(dw, {1, 1, 2, 1}), Tensor(db), work);
  SAME(dx, 1, 10, 2, 20);
  SAME(dw, 7, 10);
  SAME(db, 3);
  how.stride_y = 2;
  latens::conv2d(host, tx, tw, none, how, Tensor(db, {1, 1, 1, 1}));
  SAME(db, 21);

  const LatensWindow rows{1, 2, 1, 2, 0, 0};
  Numbers indices(2);
  latens::max_pool(host, tx, rows, ty, Tensor(indices, {1, 2, 1, 1}));
  SAME(y, 2, 4);
  SAME(indices, 1, 3);
  latens::max_pool_backward(host, tdy, Tensor(indices, {1, 2, 1, 1}), rows, tdx);
  SAME(dx, 0, 1, 0, 2);
  latens::average_pool(host, tx, rows, false, ty);
  SAME(y, 1.5f, 3.5f);
  latens::average_pool_backward(host, tdy, rows, false, tdx, LATENS_ACCUMULATE_ADD);
  SAME(dx, 0.5f, 1.5f, 1, 3);

  latens::Resize by(host, LATENS_FILTER_BILINEAR, 2, 2, 2, 3);
  Scratch more(latens::resize_workspace(host, tx, by));
  latens::resize(host, tx, by, Tensor(wide, {1, 2, 3, 1}), more);
  SAME(wide, 1, 1.5f, 2, 3, 3.5f, 4);
  wide = {1, 2, 4, 0, 0, 8};
  latens::resize_backward(host, Tensor(wide, {1, 2, 3, 1}), by, tdx, more);
  SAME(dx, 2, 5, 0, 8);
}

// Row 0 has the columns 0 and 1, row 1 has 1.
struct Hypergraph {
  Numbers offsets = Numbers(3), members = Numbers(3), to_offsets = Numbers(3), to_members = Numbers(3), to_places = Numbers(3);
  Floats weights{1, 2, 3}, merged = Floats(3), x{10, 20};
  Tensor to{offsets}, tm{members}, turned_offsets{to_offsets}, turned_members{to_members}, turned_places{to_places}, tx{x, {2, 1}};
  latens::Incidence rows{to, tm, none, 2}, columns{turned_offsets, turned_members, turned_places, 2};

  void build() {
    Numbers r{0, 0, 1}, c{0, 1, 1};
    Scratch work(latens::hyper_incidence_workspace(host, 2, 2, 3));
    latens::hyper_incidence(host, Tensor(r), Tensor(c), Tensor(weights), 2, 2, to, tm, Tensor(merged), work);
    SAME(offsets, 0, 2, 3);
    SAME(members, 0, 1, 1);
    SAME(merged, 1, 2, 3);
    Scratch more(latens::hyper_transpose_workspace(host, 2, 2, 3));
    latens::hyper_transpose(host, to, tm, 2, turned_offsets, turned_members, turned_places, more);
    SAME(to_offsets, 0, 1, 3);
    SAME(to_members, 0, 0, 1);
    SAME(to_places, 0, 1, 2);
  }

  void pool() {
    Floats degree(2), a(3), da{1, 2, 3}, dvalues(3), y(2), dy{5, 7}, dx(2);
    Numbers chosen(2);
    latens::hyper_degree(host, rows, LATENS_DEGREE_SUM, Tensor(merged), none, Tensor(degree));
    SAME(degree, 3, 3);
    latens::hyper_weigh(host, rows, LATENS_WEIGH_SUM, Tensor(merged), none, none, Tensor(a));
    SAME(a, 1, 2, 3);
    latens::hyper_weigh_backward(host, rows, LATENS_WEIGH_SUM, Tensor(merged), none, none, Tensor(da), Tensor(dvalues));
    SAME(dvalues, 1, 2, 3);
    latens::hyper_pool(host, rows, Tensor(a), tx, Tensor(y, {2, 1}));
    SAME(y, 50, 60);
    latens::hyper_largest(host, rows, none, tx, Tensor(y, {2, 1}), Tensor(chosen, {2, 1}));
    SAME(y, 20, 20);
    SAME(chosen, 1, 2);
    latens::hyper_largest_backward(host, columns, none, Tensor(dy, {2, 1}), Tensor(chosen, {2, 1}), Tensor(dx, {2, 1}));
    SAME(dx, 0, 12);
    latens::hyper_dots(host, rows, Tensor(dy, {2, 1}), tx, Tensor(da));
    SAME(da, 50, 100, 140);
  }

  void walk() {
    Floats best(2), seeds{1, 0}, rank(2), change(1);
    Numbers which(2);
    latens::hyper_topk(host, rows, Tensor(x), 1, Tensor(best, {2, 1}), Tensor(which, {2, 1}));
    SAME(best, 20, 20);
    SAME(which, 1, 1);
    Scratch work(latens::hyper_rank_workspace(host, 2, Tensor(seeds, {2, 1})));
    latens::hyper_rank(host, rows, columns, none, none, Tensor(seeds, {2, 1}), 0.5f, 1, 0, Tensor(rank, {2, 1}), Tensor(change), work);
    SAME(rank, 0.75f, 0.25f);
  }
};

void search() {
  Floats queries{1, 0}, corpus{1, 0, 2, 0, 0, 1}, values(1), bounds(9);
  Numbers ids(1), complete(1);
  std::vector<std::int8_t> codes(6);
  Tensor tq(queries, {1, 2}), tc(corpus, {3, 2}), tcodes(codes, {3, 2}), tb(bounds, {3, 3});
  Scratch work(latens::hyper_search_workspace(host, tq, tc, 1));
  latens::hyper_search(host, tq, tc, 1, Tensor(values, {1, 1}), Tensor(ids, {1, 1}), work);
  SAME(values, 2);
  SAME(ids, 1);
  latens::hyper_compress(host, tc, tcodes, tb);
  Scratch more(latens::hyper_search_compressed_workspace(host, tq, tc, 1, 3));
  values = {0}, ids = {9};
  latens::hyper_search_compressed(host, tq, tc, tcodes, tb, 1, 3, Tensor(values, {1, 1}), Tensor(ids, {1, 1}), Tensor(complete), more);
  SAME(values, 2);
  SAME(ids, 1);
  SAME(complete, 1);
  std::vector<latens::bf16> halves(6);
  Tensor th(halves, {3, 2});
  latens::hyper_compress(host, tc, th, tb);
  SAME(Numbers({halves[0].bits, halves[1].bits, halves[2].bits, halves[5].bits}), 0x3f80, 0, 0x4000, 0x3f80);
  values = {0}, ids = {9}, complete = {0};
  latens::hyper_search_compressed(host, tq, tc, th, tb, 1, 3, Tensor(values, {1, 1}), Tensor(ids, {1, 1}), Tensor(complete), more);
  SAME(values, 2);
  SAME(ids, 1);
  SAME(complete, 1);
}

} // namespace

int main() {
  entropy();
  quant();
  orders();
  optimisers();
  statistics();
  batches();
  lowrank();
  ssd();
  images();
  Hypergraph graph;
  graph.build();
  graph.pool();
  graph.walk();
  search();
  std::printf("latens %s: codes, factors, images and hypergraphs from C++\n", latens::version().c_str());
}
