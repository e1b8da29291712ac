//! How good a run is, on text that it has not seen.
use crate::variants::Reads;
use latens::io;
use latens::lm::{LanguageModel, Point, Site};
use latens::sae::eval::Core;
use latens::sae::{Contexts, Quality, Sae, Splice, on_host, quality, side_by_side, spliced_loss};
use latens::{Tensor, View, copy_into};

/// Contexts whose next tokens are predicted with spliced activations.
const SPLICED: usize = 16;

/// What is held out at a place.
pub struct Held {
    site: Site,
    rows: Tensor<f32, 2>,
    spliced: Contexts,
    /// What the model loses as it is, and with zeros instead, where something is put. All runs share them.
    losses: Option<[f64; 2]>,
}

impl Held {
    pub fn new(lm: &LanguageModel, site: Site, contexts: &Contexts) -> io::Result<Self> {
        let mut rows = Tensor::zeros([contexts.rows(), lm.model.config().dim], lm.model.device())?;
        contexts.activations(&lm.model, site, 0, &mut rows, |_| {})?;
        let length = contexts.length;
        let count = SPLICED.min(contexts.len()) * length;
        let spliced = Contexts { ids: contexts.ids[..count].to_vec(), length };
        let loss = |splice| spliced_loss(&lm.model, site, &spliced, splice, |_| {});
        let losses = match site.point {
            Point::MlpInput => None, // only read
            _ => Some([loss(Splice::Clean)?, loss(Splice::Zero)?]),
        };
        Ok(Self { site, rows, spliced, losses })
    }
}

/// Its figures.
pub struct Judged {
    pub fvu: f64,
    pub l0: f64,
    pub dead: f64,
    /// Share of cross-entropy recovered, where what it makes takes the place of what was there: of a crosscoder at each place, with the others
    /// as they are.
    pub recovered: Option<f64>,
    /// Of a crosscoder at each place: its name, `fvu`, `recovered`.
    pub each: Vec<(String, f64, f64)>,
}

impl Judged {
    pub fn of(lm: &LanguageModel, sae: &Sae, reads: Reads, held: &[&Held]) -> io::Result<Self> {
        let views: Vec<View<'_, f32, 2>> = held.iter().map(|held| held.rows.view()).collect();
        let recovered = |at: usize, splice| -> io::Result<Option<f64>> {
            let Held { site, spliced, losses, .. } = held[at];
            let own = spliced_loss(&lm.model, *site, spliced, splice, |_| {})?;
            Ok(losses.map(|[clean, zero]| (zero - own) / (zero - clean)))
        };
        match reads {
            Reads::Residual | Reads::Through => {
                let Quality { fvu, l0, dead, .. } = quality(sae, views[0])?;
                Ok(Self { fvu, l0, dead, recovered: recovered(0, Splice::Sae(sae))?, each: vec![] })
            }
            Reads::All => {
                let rows = side_by_side(&views)?;
                let Quality { fvu, l0, dead, .. } = quality(sae, rows.view())?;
                let (recon, sites) = (sae.reconstruct(rows.view())?, held.iter().map(|of| of.site).collect::<Vec<_>>());
                let mut each = Vec::new();
                for (at, view) in views.iter().enumerate() {
                    let d = view.dims()[1];
                    let mut part = Tensor::empty(view.dims(), &view.device())?;
                    copy_into(recon.view().narrow(1, at * d, (at + 1) * d)?, part.view_mut())?;
                    let Some(recovered) = recovered(at, Splice::Crosscoder(sae, &sites))? else { continue };
                    each.push((place(Reads::Residual, &sites[at]), unexplained(*view, &part)?, recovered));
                }
                let mean = each.iter().map(|(_, _, recovered)| recovered).sum::<f64>() / each.len().max(1) as f64;
                Ok(Self { fvu, l0, dead, recovered: Some(mean), each })
            }
            Reads::Mlp => {
                let Core { fvu, l0, dead, .. } = Core::measure_to(sae, views[0], views[1], |_| {})?;
                let recovered = recovered(1, Splice::Predicted(sae, held[0].site))?;
                Ok(Self { fvu, l0, dead, recovered, each: vec![] })
            }
        }
    }
}

/// The fraction of variance unexplained.
fn unexplained(x: View<'_, f32, 2>, recon: &Tensor<f32, 2>) -> io::Result<f64> {
    let ([rows, d], x, recon) = (x.dims(), on_host(x)?, recon.to_vec()?);
    let mut mean = vec![0.0; d];
    x.chunks_exact(d).for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x) / rows as f64));
    let squares = |of: &dyn Fn(usize) -> f64| (0..x.len()).map(|at| (f64::from(x[at]) - of(at)).powi(2)).sum::<f64>();
    Ok(squares(&|at| f64::from(recon[at])) / squares(&|at| mean[at % d]))
}

/// What a place is called in the table and the pictures.
pub fn place(reads: Reads, site: &Site) -> String {
    match (reads, site.point) {
        (Reads::All, _) => "all layers".into(),
        (Reads::Mlp, _) | (_, Point::MlpInput) => format!("MLP of layer {}", site.layer),
        _ => format!("layer {}", site.layer),
    }
}
