//! The figures as a page.
use crate::measure::{Layer, Row};
use crate::shared::Sample;
use crate::{Options, Outcome, measure::SIZES};
use latens::lm::LanguageModel;
use latens::sae::Sae;
use latens::steer::gradsae::{By, Mode};
use latens::steer::report::{Chart, Curve, Page};

pub fn page(layers: &[Layer], saes: &[Sae], lm: &LanguageModel, options: &Options) -> Outcome<String> {
    let mut page = Page::new("GradSAE: which latents answers hang on");
    let mut sample = Sample::new(lm, &options.common)?;
    page.text(&format!(
        "Questions that the model ({} wide, {} layers) answers right, also through the autoencoder ({} latents, {} active). Sets of latents \
         are turned off at all tokens, and it is asked again. Intervals are 95 % of a bootstrap over questions.",
        lm.model.config().dim,
        lm.model.config().layers,
        options.common.latents,
        options.common.active
    ));
    for (layer, sae) in layers.iter().zip(saes) {
        page.part(&format!("Layer {}: {} questions", layer.layer, layer.questions));
        let across = |row: &Row| row.latents;
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
        let cell = |row: &Row| format!("{:.1} / {:.1}", 100.0 * row.exact_match.mean, 100.0 * row.f1.mean);
        let rows: Vec<Vec<String>> = (0..SIZES.len())
            .map(|size| {
                let of = |by, top| {
                    let mut rows = layer.rows.iter().filter(|row| row.by == by && row.top == top);
                    rows.nth(size).map(cell).unwrap_or_default()
                };
                let (k, p) = &layer.p_top[size];
                let first = [k.clone(), of(By::Activation, true), of(By::Activation, false)];
                first.into_iter().chain([of(By::Gradient, true), of(By::Gradient, false), format!("{p:.1e}")]).collect()
            })
            .collect();
        page.table(
            &["K", "activation top", "activation bottom", "gradient top", "gradient bottom", "p of the tops (McNemar)"],
            &rows,
        );
        page.text("Exact match / F1 in per cent.");
        if layer.pairs > 0 {
            let rows: Vec<Vec<String>> = layer
                .steered
                .iter()
                .map(|row| {
                    let mode = if row.mode == Mode::Paper { "paper" } else { "released" };
                    let by = if row.by == By::Gradient { "gradients" } else { "activations" };
                    let both = format!("{:.1} / {:.1}", 100.0 * row.exact_match.mean, 100.0 * row.f1.mean);
                    vec![row.k.clone(), mode.into(), by.into(), both]
                })
                .collect();
            page.text(&format!("Local steering: {} pairs of questions with one context.", layer.pairs));
            page.table(&["K", "mode", "ranked by", "exact match / F1 with the other's answer"], &rows);
        }
        let exact = &layer.exact;
        page.text(&format!(
            "Over {} latents of {} questions, what slopes foretell and what is lost when a latent is turned off have a rank correlation of {:.3} \
             ({:.3} to {:.3}).",
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
