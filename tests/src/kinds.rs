//! Every kind of sparse autoencoder, small, and rows to train it on.
use latens::Philox;
use latens::sae::{
    Anneal, Center, Config, Cosine, Cost, Decoder, Falling, Gated, Jump, Multi, Normalise, Nudge, Revive, Rule,
    Sparsity, Switch, Transcode, Variant,
};

/// Width of the rows.
pub const D: usize = 16;
/// Rows of a step.
pub const ROWS: usize = 128;
/// Latents.
pub const N: usize = 48;

/// Rows that are sums of three of 24 directions, around a centre; and others that are a turned copy of them.
pub fn rows(seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut draw = Philox::new(11);
    let mut number = || draw.uniform() * 2.0 - 1.0;
    let directions: Vec<f32> = (0..24 * D).map(|_| number()).collect();
    let center: Vec<f32> = (0..D).map(|_| number()).collect();
    let mut draw = Philox::new(seed);
    let mut all = Vec::new();
    for _ in 0..ROWS {
        let mut row = center.clone();
        for _ in 0..3 {
            let (which, size) = (draw.below(24) as usize, 1.0 + draw.uniform());
            row.iter_mut().zip(&directions[which * D..]).for_each(|(x, w)| *x += size * w);
        }
        all.extend(row);
    }
    let turned = all.chunks(D).flat_map(|row| row.iter().rev().map(|x| 2.0 * x)).collect();
    (all, turned)
}

/// A run of a kind, of 300 steps.
pub fn base(variant: Variant) -> Config {
    let revive = Some(Revive::new(1.0 / 32.0, 8, 1024));
    Config { variant, batch: ROWS, rate: 1e-2, revive, seed: 3, ..Config::new(D, N, 4, 300) }
}

/// A penalty.
pub fn cost(weight: f32, cost: Cost) -> Sparsity {
    Sparsity { weight, cost, warm: 50, by_length: false, anneal: None }
}

/// Every kind with its most active latents per row and FVU after 300 steps.
pub fn all() -> Vec<(&'static str, Config, f32, f32)> {
    let l1 = Cost::Power(1.0);
    let jump = |sparsity| Variant::JumpReLU(Jump { sparsity, width: 0.5, start: 0.3, log: true });
    let lengths = Sparsity { by_length: true, ..cost(0.5, l1) };
    let free = |variant| Config { decoder: Decoder::Free, centred: false, ..base(variant) };
    let prefixes = vec![6, 12, 24, N];
    let anneal = Some(Anneal { to: 0.5, from_step: 150, turns: 5 });
    let nudge = Some(Nudge { weight: 1e-3, after: 1024 });
    let mut kinds = vec![
        ("topk", base(Variant::TopK), 4.0, 0.1),
        ("topk falling", Config { falling: Some(Falling { from: 12, steps: 200 }), ..base(Variant::TopK) }, 4.0, 0.15),
        ("topk not centred", Config { centred: false, ..base(Variant::TopK) }, 4.0, 0.15),
        ("topk multi", Config { multi: Some(Multi { times: 4, weight: 0.125 }), ..base(Variant::TopK) }, 4.0, 0.1),
        ("batchtopk", Config { fraction: 0.5, ..base(Variant::BatchTopK) }, 4.5, 0.1),
        ("groupmax", base(Variant::GroupMax), 4.0, 0.25),
        ("switch", Config { revive: None, ..base(Variant::Switch(Switch { experts: 3, balance: 0.3 })) }, 4.0, 0.3),
        ("matryoshka", Config { prefixes: prefixes.clone(), ..base(Variant::BatchTopK) }, 4.0, 0.2),
        ("relu", base(Variant::ReLU(cost(0.5, l1))), 16.0, 0.1),
        ("relu by lengths", free(Variant::ReLU(lengths)), 16.0, 0.1),
        ("relu, power", base(Variant::ReLU(Sparsity { anneal, ..cost(0.5, l1) })), 16.0, 0.1),
        ("relu matryoshka", Config { prefixes, ..base(Variant::ReLU(cost(0.5, l1))) }, 24.0, 0.3),
        ("gated", base(Variant::Gated(Gated { sparsity: cost(0.5, l1), detached: true })), 16.0, 0.1),
        ("gated, SAELens", base(Variant::Gated(Gated { sparsity: lengths, detached: false })), 16.0, 0.1),
        ("jumprelu", base(jump(cost(0.5, Cost::Count))), 16.0, 0.2),
        ("jumprelu, target", base(jump(cost(1.0, Cost::Target(5.0)))), 12.0, 0.1),
        (
            "jumprelu, tanh",
            Config { nudge, ..free(jump(Sparsity { by_length: true, ..cost(0.5, Cost::Tanh(4.0)) })) },
            24.0,
            0.2,
        ),
        ("crosscoder", Config { sides: 2, ..free(Variant::ReLU(lengths)) }, 16.0, 0.1),
        (
            "crosscoder, each side of its own length",
            Config { sides: 2, normalise: Normalise::Mean, ..free(Variant::BatchTopK) },
            4.0,
            0.2,
        ),
        ("crosscoder by lengths", Config { sides: 2, ranked_by_length: true, ..free(Variant::TopK) }, 4.0, 0.2),
        ("transcoder", transcoder(false), 4.0, 0.25),
        ("skip transcoder", transcoder(true), 4.0, 0.1),
    ];
    kinds.extend(ways());
    kinds
}

/// Ways to train that any kind can be trained in, each with one.
fn ways() -> Vec<(&'static str, Config, f32, f32)> {
    let l1 = cost(0.5, Cost::Power(1.0));
    let jump = Jump { sparsity: cost(0.5, Cost::Count), width: 0.5, start: 0.3, log: true };
    let cosine = Some(Cosine { cycles: 2, lowest: 0.1 });
    let by_length = |variant| Config { ranked_by_length: true, decoder: Decoder::Free, ..base(variant) };
    let by = |rule, rate| Config { rule, rate, ..base(Variant::TopK) };
    vec![
        ("from zero", Config { center: Center::Zero, ..base(Variant::TopK) }, 4.0, 0.15),
        ("counted above", Config { fired: 0.1, ..base(Variant::TopK) }, 4.0, 0.1),
        ("centred start", Config { centred: false, centred_start: true, ..base(Variant::BatchTopK) }, 4.0, 0.15),
        ("adamw8", by(Rule::AdamW8, 1e-2), 4.0, 0.15),
        ("signum", by(Rule::Signum { beta: 0.9 }, 5e-3), 4.0, 0.2),
        ("muon", by(Rule::Muon { beta: 0.95 }, 2e-2), 4.0, 0.15),
        ("muon, relu", Config { rule: Rule::Muon { beta: 0.9 }, rate: 2e-2, ..base(Variant::ReLU(l1)) }, 16.0, 0.15),
        ("signum, skip", Config { rule: Rule::Signum { beta: 0.9 }, rate: 3e-3, ..transcoder(true) }, 4.0, 0.2),
        ("cosine, averaged", Config { cosine, average: Some(0.97), ..base(Variant::BatchTopK) }, 4.0, 0.2),
        (
            "jumprelu, averaged",
            Config { average: Some(0.9), normalise: Normalise::Mean, ..base(Variant::JumpReLU(jump)) },
            16.0,
            0.2,
        ),
        ("topk by budgets", Config { budgets: vec![1, 2], ..base(Variant::TopK) }, 4.0, 0.15),
        ("topk by lengths", by_length(Variant::TopK), 4.0, 0.15),
        ("batchtopk by lengths", Config { average: Some(0.9), ..by_length(Variant::BatchTopK) }, 4.5, 0.2),
        ("in parts", Config { parts: 4, clip: Some(1.0), ..base(Variant::TopK) }, 4.0, 0.1),
        (
            "gated, in parts",
            Config { parts: 2, ..base(Variant::Gated(Gated { sparsity: l1, detached: true })) },
            16.0,
            0.1,
        ),
        (
            "switch, in parts",
            Config { parts: 2, revive: None, ..base(Variant::Switch(Switch { experts: 3, balance: 0.3 })) },
            4.0,
            0.3,
        ),
        ("mean length", Config { normalise: Normalise::Mean, ..base(Variant::BatchTopK) }, 4.0, 0.1),
        ("mean length, transcoder", Config { normalise: Normalise::Mean, parts: 2, ..transcoder(true) }, 4.0, 0.1),
        ("standard rows", Config { normalise: Normalise::Standard, ..base(Variant::TopK) }, 4.0, 0.15),
        ("rows of one length", Config { normalise: Normalise::Length, ..base(Variant::ReLU(l1)) }, 16.0, 0.15),
    ]
}

/// A transcoder.
pub fn transcoder(skip: bool) -> Config {
    let transcode = Some(Transcode { skip });
    Config { transcode, centred: false, decoder: Decoder::Free, ..base(Variant::TopK) }
}
