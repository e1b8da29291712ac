//! The figures as a page.
use crate::measure::{Bench, Measured, Steering};
use crate::shared::Sample;
use crate::told::Told;
use crate::{Gain, Outcome};
use latens::steer::report::{Chart, Curve, Page};
use latens::steer::statistics::{Interval, bootstrap};

/// Latents that are shown.
const SHOWN: usize = 5;

pub fn page(all: &[Measured], told: &[Told], gains: &[Gain], bench: &Bench<'_>) -> Outcome<String> {
    let mut page = Page::new("SAIF: instructions that are not said");
    let mut sample = Sample::new(bench.lm, &bench.options.common)?;
    page.text(&format!(
        "{} instructions; latents are found by {} pairs of prompts with and without each, strengths are chosen by {} other contents, and these are answers \
         to {} more.",
        all.len(),
        bench.contents[0].len(),
        bench.contents[1].len(),
        bench.contents[2].len()
    ));
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|of| {
            let both = |graded: &crate::measure::Graded| {
                format!("{:.0} / {:.0}", 100.0 * graded.strict.mean, 100.0 * graded.loose.mean)
            };
            let said = [both(&of.plain), both(&of.said_before), both(&of.said_after)];
            let steered = [both(&of.saif.graded), both(&of.single.graded), both(&of.raw.graded)];
            [of.instruction.clone()].into_iter().chain(said).chain(steered).collect()
        })
        .collect();
    page.table(
        &["instruction", "not said", "said before", "said behind", "steered", "one latent, fading", "raw difference"],
        &rows,
    );
    page.text("Strict / loose in per cent.");
    let rows: Vec<Vec<String>> = gains
        .iter()
        .map(|gain| {
            let Interval { n, mean, low, high } = gain.share;
            let [mean, low, high] = [mean, low, high].map(|share| format!("{:+.1}", 100.0 * share));
            let kind = if gain.loose { "loose" } else { "strict" };
            vec![
                format!("{} over {}, {kind}", gain.of, gain.over),
                mean,
                format!("{low} to {high}"),
                n.to_string(),
                format!("{:.1e}", gain.p),
            ]
        })
        .collect();
    page.table(&["gain", "points", "95 %", "n", "p"], &rows);
    page.part("Which instructions are followed");
    page.text(&format!(
        "Strictly, in per cent of {} contents. Those that are followed by less than {:.0} points more often where they are said were not steered.",
        bench.contents[1].len(),
        100.0 * bench.options.least
    ));
    let rows: Vec<Vec<String>> = told
        .iter()
        .map(|of| {
            let shares = [of.plain, of.before, of.behind].map(|share| format!("{:.0}", 100.0 * share));
            [of.instruction.clone()].into_iter().chain(shares).collect()
        })
        .collect();
    page.table(&["instruction", "not said", "said before", "said behind"], &rows);
    page.part("What matters");
    let layers = curves(all, |of| &of.layers, |of| of.layer as f64)?;
    let ks = curves(all, |of| &of.ks, |of| of.k as f64)?;
    let places = curves(all, |of| &of.places, |of| f64::from(u8::from(of.after)))?;
    let chart = |title, x, [strict, loose]: [Vec<(f64, Interval)>; 2]| Chart {
        title,
        x,
        y: "followed, over all instructions",
        curves: vec![Curve { name: "strict", points: strict }, Curve { name: "loose", points: loose }],
    };
    page.charts(&[
        chart("Layers", "layer", layers),
        chart("Latents", "latents", ks),
        chart("Place of the instruction", "0 before the content, 1 behind it", places),
    ]);
    for of in all {
        page.part(&of.instruction);
        let content = &bench.contents[2][0];
        let said = [
            ("not said", &of.plain),
            ("said", &of.said_after),
            ("steered", &of.saif.graded),
            ("raw difference", &of.raw.graded),
        ];
        let answers: Vec<Vec<String>> =
            said.iter().map(|(name, graded)| vec![(*name).into(), graded.said.clone()]).collect();
        page.table(&["", content], &answers);
        if let Some((layer, sae)) = bench.layers.iter().find(|(layer, _)| *layer == of.saif.layer) {
            let few: Vec<u32> = of.saif.latents.iter().take(SHOWN).map(|of| of.latent).collect();
            page.latents(&sample.look(bench.lm, sae, *layer, &few)?);
        }
    }
    Ok(page.finish())
}

/// Strict and loose shares of all instructions together, by what `at` tells.
fn curves(
    all: &[Measured],
    of: fn(&Measured) -> &Vec<Steering>,
    at: fn(&Steering) -> f64,
) -> Outcome<[Vec<(f64, Interval)>; 2]> {
    let mut places: Vec<f64> = all.iter().flat_map(|measured| of(measured).iter().map(at)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let curve = |loose: bool| {
        let point = |&place: &f64| {
            let here = all.iter().flat_map(&of).filter(|steering| at(steering) == place);
            let each: Vec<f64> = here.flat_map(|steering| steering.graded.each(loose)).collect();
            Ok((place, bootstrap(&each, 0)?))
        };
        places.iter().map(point).collect::<Outcome<Vec<_>>>()
    };
    Ok([curve(false)?, curve(true)?])
}
