//! The train step of several kinds of autoencoder beside PyTorch's dense autograd of the same maths.
//!
//! Penalised kinds begin with about as many active latents as `k`, as after training: thresholds, or a bias of the gate, let few of
//! the normal pre-activations pass.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::sae::{Sizes, tensor};
use crate::{Result, disagreement};
use latens::sae::{Config, Cost, Gated, Jump, Sparsity, Trainer, Variant};
use latens_core::Device;

/// A kind: its row, torch's case, and the least that it is to be faster by.
struct Kind {
    row: &'static str,
    case: &'static str,
    bar: f64,
    variant: Variant,
    bias: f32,
}

/// Weight of penalties, and width of the rectangle.
const WEIGHT: f32 = 0.5;
const WIDTH: f32 = 0.1;

fn kinds(s: Sizes) -> [Kind; 4] {
    // About k of n normal numbers are above it.
    let far = if s.n > 10_000 { 2.88 } else { 2.46 };
    let sparsity = |cost| Sparsity { weight: WEIGHT, cost, warm: 0, by_length: false, anneal: None };
    let jump = Jump { sparsity: sparsity(Cost::Count), width: WIDTH, start: far, log: true };
    let gated = Gated { sparsity: sparsity(Cost::Power(1.0)), detached: true };
    let kind = |row, case, bar, variant, bias| Kind { row, case, bar, variant, bias };
    [
        kind("sae_step", "sae_step", 4.0, Variant::TopK, 0.0),
        kind("sae_step_batchtopk", "sae_step_batchtopk", 4.0, Variant::BatchTopK, 0.0),
        kind("sae_step_jumprelu", "sae_step_jumprelu", 2.5, Variant::JumpReLU(jump), 0.0),
        kind("sae_step_gated", "sae_step_gated", 1.3, Variant::Gated(gated), -far),
    ]
}

pub(crate) fn compare(s: Sizes, dir: &Exchange, torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    kinds(s).iter().try_for_each(|kind| step(kind, s, dir, torch, show))
}

fn step(kind: &Kind, s: Sizes, dir: &Exchange, torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let rate = 1e-4;
    let x = tensor::<f32, 2>(1, [s.b, s.d])?;
    let sample = x.host().ok_or("host")?;
    let config = Config {
        variant: kind.variant,
        bias: kind.bias,
        batch: s.b,
        rate,
        warm: 0,
        decay: 0,
        revive: None,
        ..Config::new(s.d, s.n, s.k, 1 << 20)
    };
    let mut trainer = Trainer::new(config, sample, &Device::Host)?;
    for (name, of) in [("w_enc", &trainer.sae().w_enc), ("w_dec", &trainer.sae().w_dec)] {
        dir.put(name, &of.to_vec()?)?;
    }
    dir.put("b_enc", &trainer.sae().b_enc.to_vec()?)?;
    dir.put("b_dec", &trainer.sae().b_dec.to_vec()?)?;
    let (variance, scale) = spread(sample, s.d);
    let unit = (variance / s.d as f64).sqrt();
    let mut dims = s.json();
    for (name, value) in [("variance", variance), ("scale", scale), ("unit", unit), ("weight", WEIGHT.into())] {
        dims[name] = value.into();
    }
    dims["lr_e9"] = (f64::from(rate) * 1e9).round().into();
    dims["width"] = (f64::from(WIDTH) * unit).into();
    if let Variant::JumpReLU(jump) = kind.variant {
        dims["threshold"] = (f64::from(jump.start) * unit).into();
    }
    torch.setup(kind.case, dir.path(), &dims, "f32")?;

    // Three steps from the same weights lose the same.
    let mut losses = Vec::new();
    for _ in 0..3 {
        trainer.step(x.view())?;
        losses.push((f64::from(trainer.progress()?.fvu) * variance) as f32);
    }
    let worst = disagreement(&losses, &dir.get("losses", "torch")?);
    if worst > 1e-6 {
        return Err(format!("{} {s}: losses {losses:?} disagree with torch by {worst:e}", kind.row).into());
    }
    let times = torch.race(|| Ok(trainer.step(x.view())?))?;
    let name = format!("{} dense autograd + Adam", torch.name);
    let rate = Some(("tokens/s", s.b as f64 / times.0 * 1e3));
    show(Row { bar: Some(kind.bar), rate, ..s.row(kind.row, "f32", &name, times.into()) });
    Ok(())
}

/// Mean squared distance of rows from their mean, and the size of an entry.
fn spread(rows: &[f32], d: usize) -> (f64, f64) {
    let count = (rows.len() / d) as f64;
    let mut mean = vec![0.0; d];
    rows.chunks_exact(d).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, &x)| *m += f64::from(x) / count));
    let squares = |center: &dyn Fn(usize) -> f64| {
        rows.iter().enumerate().map(|(at, &x)| (f64::from(x) - center(at % d)).powi(2)).sum::<f64>()
    };
    (squares(&|at| mean[at]) / count, (squares(&|_| 0.0) / rows.len() as f64).sqrt())
}
