//! The figures as a page.
use crate::gain::{DIFFERENT, Gain};
use crate::measure::{Bench, Graded, Steering};
use crate::shared::Sample;
use crate::told::Told;
use crate::{One, Outcome};
use latens::steer::report::{Chart, Curve, Page};
use latens::steer::statistics::{Interval, bootstrap_groups};

/// Latents that are shown.
const SHOWN: usize = 5;

pub fn page(all: &[One], told: &[Told], gains: &[Gain], bench: &Bench<'_>) -> Outcome<String> {
    let mut page = Page::new("SAIF: instructions that are not said");
    let mut sample = Sample::new(bench.lm, &bench.options.common)?;
    page.text(&format!(
        "{} instructions; latents are found by {} pairs of prompts with and without each; layer, number of latents and strength are chosen by {} other \
         contents, and these are answers to {} more. Seed {}.",
        all.len(),
        bench.contents[0].len(),
        bench.contents[1].len(),
        bench.contents[2].len(),
        bench.options.common.seed
    ));
    outcomes(&mut page, all);
    page.table(
        &["gain", "points", "over contents, 95 %", "over instructions, 95 %"],
        &gains.iter().map(Gain::cells).collect::<Vec<_>>(),
    );
    followed(&mut page, told, bench);
    what_matters(&mut page, all, bench.options.common.seed)?;
    for One { of, raw } in all {
        page.part(&of.instruction);
        let content = &bench.contents[2][0];
        let said = [
            ("not said", &of.plain),
            ("said", &of.said_after),
            ("steered", &of.saif.graded),
            ("raw difference", &raw[0].graded),
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

fn outcomes(page: &mut Page, all: &[One]) {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|One { of, raw }| {
            let both = |graded: &Graded| format!("{} / {:.0}", share(&graded.strict), 100.0 * graded.loose.mean);
            let said = [both(&of.plain), both(&of.said_before), both(&of.said_after)];
            let steered = [both(&of.saif.graded), both(&of.single.graded), both(&raw[0].graded)];
            [of.instruction.clone()].into_iter().chain(said).chain(steered).collect()
        })
        .collect();
    page.table(
        &["instruction", "not said", "said before", "said behind", "steered", "one latent, fading", "raw difference"],
        &rows,
    );
    page.text(&format!(
        "Strict, with its interval, / loose, in per cent. An answer of which less than {:.0} % of the tokens are different counts as not followed, whatever \
         its grader sees in it, and so does one that is cut off where its end would tell.",
        100.0 * DIFFERENT
    ));
}

/// In per cent.
fn share(of: &Interval) -> String {
    let [mean, low, high] = [of.mean, of.low, of.high].map(|share| format!("{:.0}", 100.0 * share));
    format!("{mean} ({low} to {high})")
}

fn followed(page: &mut Page, told: &[Told], bench: &Bench<'_>) {
    page.part("Which instructions are followed");
    page.text(&format!(
        "Strictly, in per cent of {} contents. Those that are followed by less than {:.0} points more often where they are said were \
         not steered.",
        bench.contents[1].len(),
        100.0 * bench.options.least
    ));
    let rows: Vec<Vec<String>> = told
        .iter()
        .map(|of| {
            let shares = [of.plain, of.before, of.behind].map(|of| share(&of));
            [of.instruction.clone()].into_iter().chain(shares).collect()
        })
        .collect();
    page.table(&["instruction", "not said", "said before", "said behind"], &rows);
}

fn what_matters(page: &mut Page, all: &[One], seed: u64) -> Outcome<()> {
    page.part("What matters");
    let layers = curves(all, seed, |of| &of.of.layers, |of| of.layer as f64)?;
    let raw = curves(all, seed, |of| &of.raw, |of| of.layer as f64)?;
    let ks = curves(all, seed, |of| &of.of.ks, |of| of.k as f64)?;
    let places = curves(all, seed, |of| &of.of.places, |of| f64::from(u8::from(of.after)))?;
    let chart = |title, x, [strict, loose]: [Vec<(f64, Interval)>; 2]| Chart {
        title,
        x,
        y: "followed, over all instructions",
        curves: vec![Curve { name: "strict", points: strict }, Curve { name: "loose", points: loose }],
    };
    page.charts(&[
        chart("Layers", "layer", layers),
        chart("Layers, raw difference", "layer", raw),
        chart("Latents", "latents", ks),
        chart("Place of the instruction", "0 before the content, 1 behind it", places),
    ]);
    page.text("Numbers of latents are compared at the layer that was best for the usual number, places at the layer and number that were best behind the content.");
    Ok(())
}

/// Strict and loose shares of all instructions together, by what `at` tells.
fn curves(
    all: &[One],
    seed: u64,
    of: fn(&One) -> &Vec<Steering>,
    at: fn(&Steering) -> f64,
) -> Outcome<[Vec<(f64, Interval)>; 2]> {
    let mut places: Vec<f64> = all.iter().flat_map(|measured| of(measured).iter().map(at)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let curve = |loose: bool| {
        let point = |&place: &f64| {
            let here = all.iter().flat_map(&of).filter(|steering| at(steering) == place);
            // The same contents are in all instructions.
            let (each, contents): (Vec<f64>, Vec<usize>) =
                here.flat_map(|steering| steering.graded.each(loose).into_iter().zip(0..)).unzip();
            Ok((place, bootstrap_groups(&each, &contents, seed)?))
        };
        places.iter().map(point).collect::<Outcome<Vec<_>>>()
    };
    Ok([curve(false)?, curve(true)?])
}
