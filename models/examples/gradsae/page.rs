//! The figures as a page.
use crate::measure::{Layer, Row, Tops};
use crate::shared::Sample;
use crate::{Options, Outcome, measure::SIZES};
use latens::lm::LanguageModel;
use latens::sae::Sae;
use latens::steer::gradsae::{By, Mode};
use latens::steer::report::{Chart, Curve, Page};
use latens::steer::statistics::Interval;

pub fn page(layers: &[Layer], saes: &[Sae], lm: &LanguageModel, options: &Options) -> Outcome<String> {
    let mut page = Page::new("GradSAE: which latents answers hang on");
    let mut sample = Sample::new(lm, &options.common)?;
    page.text(&format!(
        "Questions that the model ({} wide, {} layers) answers right, also through the autoencoder ({} latents, {} active). Sets of latents \
         are turned off at all tokens, and it is asked again. Intervals are 95 % of a bootstrap over groups of questions about one country, seed {}.",
        lm.model.config().dim,
        lm.model.config().layers,
        options.common.latents,
        options.common.active,
        options.common.seed
    ));
    for (layer, sae) in layers.iter().zip(saes) {
        page.part(&format!("Layer {}: {} questions in {} groups", layer.layer, layer.questions, layer.groups));
        turned_off(&mut page, layer);
        steered(&mut page, layer);
        let exact = &layer.exact;
        page.text(&format!(
            "Over {} latents of {} questions, what slopes foretell and what is lost when a latent is turned off have a rank correlation of {:.3} \
             ({:.3} to {:.3}, over questions).",
            exact.latents,
            exact.questions,
            exact.whole.mean,
            exact.whole.low,
            exact.whole.high
        ));
        page.text(&format!("Latents that \"{}\" behind \"{}\" hangs on most:", layer.shown.answer, layer.shown.prompt));
        page.latents(&sample.look(lm, sae, layer.layer, &layer.shown.latents)?);
    }
    Ok(page.finish())
}

fn turned_off(page: &mut Page, layer: &Layer) {
    let across = |row: &Row| row.latents.mean;
    let curve = |name, by, top| {
        let rows = layer.rows.iter().filter(move |row| row.by == by && row.top == top);
        let mut points: Vec<_> = rows.map(|row| (across(row), row.exact_match)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Curve { name, points }
    };
    let curves = vec![
        curve("top by gradients", By::Gradient, true),
        curve("top by activations", By::Activation, true),
        curve("bottom by gradients", By::Gradient, false),
        curve("bottom by activations", By::Activation, false),
    ];
    page.charts(&[Chart { title: "Turned off", x: "latents in a set", y: "exact match", curves }]);
    let cell = |row: &Row| both(&row.exact_match, &row.f1);
    let rows: Vec<Vec<String>> = (0..SIZES.len())
        .map(|size| {
            let of = |by, top| {
                let mut rows = layer.rows.iter().filter(|row| row.by == by && row.top == top);
                rows.nth(size).map(cell).unwrap_or_default()
            };
            let Tops { k, p, p_groups } = &layer.tops[size];
            let first = [k.clone(), of(By::Activation, true), of(By::Activation, false)];
            let rest = [of(By::Gradient, true), of(By::Gradient, false), format!("{p:.1e}"), format!("{p_groups:.1e}")];
            first.into_iter().chain(rest).collect()
        })
        .collect();
    page.table(
        &[
            "K",
            "activation top",
            "activation bottom",
            "gradient top",
            "gradient bottom",
            "p of the tops (McNemar)",
            "p over groups",
        ],
        &rows,
    );
    page.text("Exact match with its interval / F1, in per cent. No p is corrected for how many there are.");
}

fn steered(page: &mut Page, layer: &Layer) {
    if layer.pairs == 0 {
        return;
    }
    let rows: Vec<Vec<String>> = layer
        .steered
        .iter()
        .map(|row| {
            let mode = if row.mode == Mode::Paper { "paper" } else { "released" };
            let by = if row.by == By::Gradient { "gradients" } else { "activations" };
            vec![row.k.clone(), mode.into(), by.into(), both(&row.exact_match, &row.f1)]
        })
        .collect();
    page.text(&format!(
        "Local steering: {} pairs of questions with one context. In the paper's way a latent gets its mean activation over the other's tokens, at all \
         tokens, which is one reading of it; in that of the released code its score, at the last.",
        layer.pairs
    ));
    page.table(&["K", "mode", "ranked by", "exact match / F1 with the other's answer"], &rows);
}

/// Exact match with its interval, and F1, in per cent.
fn both(exact: &Interval, f1: &Interval) -> String {
    let [mean, low, high, f1] = [exact.mean, exact.low, exact.high, f1.mean].map(|share| 100.0 * share);
    format!("{mean:.1} ({low:.1} to {high:.1}) / {f1:.1}")
}
