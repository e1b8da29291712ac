//! The figures as a page.
use crate::Outcome;
use crate::gain::Gain;
use crate::measure::{Bench, Measured, Tried};
use crate::shared::Sample;
use latens::steer::report::{Chart, Curve, Page};
use latens::steer::statistics::Interval;

/// Latents that are shown.
const SHOWN: usize = 6;

pub fn page(all: &[Measured], gains: &[Gain], bench: &Bench<'_>) -> Outcome<String> {
    let mut page = Page::new("SDCV: concept vectors, denoised");
    let mut sample = Sample::new(bench.lm, &bench.options.common)?;
    page.text(&format!(
        "Vectors of {} concepts at layer {}, added to every token; strengths are multiples of the mean length of texts' mean activations. Success is judged by rules \
         or by classifiers trained on other texts; surprise is that of the model as it is, in nats for each token.",
        all.len(),
        bench.layer
    ));
    let cells: Vec<Vec<String>> = gains.iter().map(Gain::cells).collect();
    page.table(&["success", "points", "over prompts, 95 %", "over concepts, 95 %"], &cells);
    for measured in all {
        page.part(&format!("{}: {}", measured.concept, measured.what));
        let chart = |title, y, of: fn(&Tried) -> Interval| {
            let points = |all: &[Tried]| all.iter().map(|tried| (f64::from(tried.strength), of(tried))).collect();
            let curves = measured.methods.iter();
            let curves = curves.map(|method| Curve { name: &method.name, points: points(&method.tried) }).collect();
            Chart { title, x: "strength", y, curves }
        };
        page.charts(&[
            chart("Success", "share of prompts", |tried| tried.success),
            chart("Relevance", "cosine of embeddings", |tried| tried.relevance),
            chart("Surprise", "nats for each token", |tried| tried.surprise),
        ]);
        let prompt = bench.prompts[1].first().cloned().unwrap_or_default();
        let mut said = vec![vec!["as it is".into(), format!("{prompt} {}", measured.plain.said)]];
        said.extend(
            measured.methods.iter().map(|method| vec![method.name.clone(), format!("{prompt} {}", method.best.said)]),
        );
        page.table(&["method", "said to the first prompt"], &said);
        if let Some(method) = measured.methods.iter().find(|method| method.name == "DiM denoised") {
            let said = ["Latents that were kept, the best first:", "Latents that were not, the strongest first:"];
            for (said, latents) in said.iter().zip([&method.latents, &method.others]) {
                page.text(said);
                let few: Vec<u32> = latents.iter().take(SHOWN).map(|(latent, _)| *latent).collect();
                page.latents(&sample.look(bench.lm, bench.sae, bench.layer, &few)?);
            }
        }
    }
    Ok(page.finish())
}
