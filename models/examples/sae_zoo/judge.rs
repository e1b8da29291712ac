//! How good a run is, on text that it has not seen.
use crate::variants::Reads;
use latens::io;
use latens::lm::{LanguageModel, Point, Site};
use latens::sae::eval::Core;
use latens::sae::{Contexts, Sae, Splice, quality, spliced_loss};
use latens::{Tensor, View, copy_into};

/// Contexts whose next tokens are predicted with spliced activations.
const SPLICED: usize = 16;

/// What is held out at a place.
pub struct Held {
    site: Site,
    rows: Tensor<f32, 2>,
    spliced: Contexts,
    /// Of a residual: what the model loses as it is, and with zeros instead. All runs share them.
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
            Point::Residual => Some([loss(Splice::Clean)?, loss(Splice::Zero)?]),
            _ => None,
        };
        Ok(Self { site, rows, spliced, losses })
    }
}

/// Its figures.
pub struct Judged {
    pub fvu: f64,
    pub l0: f64,
    pub dead: f64,
    /// Share of cross-entropy recovered, where the reconstruction can take the place of what was read.
    pub recovered: Option<f64>,
}

impl Judged {
    pub fn of(lm: &LanguageModel, sae: &Sae, reads: Reads, held: &[&Held]) -> io::Result<Self> {
        let views: Vec<View<'_, f32, 2>> = held.iter().map(|held| held.rows.view()).collect();
        match reads {
            Reads::Residual | Reads::Through => {
                let quality = quality(sae, views[0])?;
                let own = spliced_loss(&lm.model, held[0].site, &held[0].spliced, Splice::Sae(sae), |_| {})?;
                let recovered = held[0].losses.map(|[clean, zero]| (zero - own) / (zero - clean));
                Ok(Self { fvu: quality.fvu, l0: quality.l0, dead: quality.dead, recovered })
            }
            Reads::All => {
                let quality = quality(sae, side_by_side(&views)?.view())?;
                Ok(Self { fvu: quality.fvu, l0: quality.l0, dead: quality.dead, recovered: None })
            }
            Reads::Mlp => {
                let core = Core::measure_to(sae, views[0], views[1], |_| {})?;
                Ok(Self { fvu: core.fvu, l0: core.l0, dead: core.dead, recovered: None })
            }
        }
    }
}

/// Rows of several places as one.
pub fn side_by_side(parts: &[View<'_, f32, 2>]) -> latens::Result<Tensor<f32, 2>> {
    let [rows, d] = parts[0].dims();
    let mut all = Tensor::empty([rows, d * parts.len()], &parts[0].device())?;
    for (at, &part) in parts.iter().enumerate() {
        copy_into(part, all.view_mut().narrow(1, at * d, (at + 1) * d)?)?;
    }
    Ok(all)
}

/// What a place is called in the table and the pictures.
pub fn place(reads: Reads, site: &Site) -> String {
    match (reads, site.point) {
        (Reads::All, _) => "all layers".into(),
        (Reads::Mlp, _) | (_, Point::MlpInput) => format!("MLP of layer {}", site.layer),
        _ => format!("layer {}", site.layer),
    }
}
