use crate::common::{Done, Judged, name, progress};
use crate::eval::Spliced;
use clap::Args;
use latens::sae::report::Report;
use latens::sae::{Browse, Losses, Pca, Splice, browser, features, hook_name, on_host, quality_to};
use latens::{View, io};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    judged: Judged,
    #[command(flatten)]
    spliced: Spliced,
    /// Latents to browse, at most
    #[arg(long, default_value_t = 6000)]
    latents: usize,
    /// The page
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
}

fn mean(rows: View<'_, f32, 2>) -> io::Result<Vec<f32>> {
    let [count, d] = rows.dims();
    let mut sums = vec![0.0_f64; d];
    for row in on_host(rows)?.chunks_exact(d.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    Ok(sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect())
}

pub fn run(options: &Options) -> Done {
    let judged = &options.judged;
    let (opened, sae) = judged.open()?;
    let (held, rows) = judged.read(&opened)?;
    let (read, spliced) = (judged.place.site(), options.spliced.of(&held));
    let (at, splice, predicted) = match sae.predicts {
        true => {
            let to = judged.predicted(&opened)?;
            (to, Splice::Predicted(&sae, read), Some(judged.rows(&opened, &held, to)?))
        }
        false => (read, Splice::Sae(&sae), None),
    };
    let made = predicted.as_ref().unwrap_or(&rows);
    let quality = quality_to(&sae, rows.view(), made.view())?;
    let bar = progress("predictions", 4 * spliced.ids.len());
    let told = |tokens: usize| bar.inc(tokens as u64);
    let losses = Losses::measure_splice(&opened.lm.model, at, &spliced, splice, &mean(made.view())?, told)?;
    bar.finish();
    /// Latents that are shown without a script.
    const SHOWN: usize = 24;
    let features = features(&opened.lm, &sae, &held, rows.view(), SHOWN)?;
    let browse = Browse { latents: options.latents, seed: judged.reading.seed, ..Browse::default() };
    let browser = browser(&opened.lm, &sae, &held, rows.view(), &browse)?;
    let (k, host) = ((quality.l0.round() as usize).clamp(1, sae.d()), on_host(rows.view())?);
    let fvu_pca = if sae.predicts { None } else { Some(Pca::fit(&host, sae.d(), k)?.fvu(&host)) };
    let mut settings = vec![
        ("checkpoint", judged.checkpoint.display().to_string()),
        ("activations", format!("{} of {}", hook_name(read)?, name(&opened.model))),
    ];
    settings.extend(sae.predicts.then(|| hook_name(at)).transpose()?.map(|to| ("predicts", to)));
    settings.extend([("latents", sae.latents().to_string()), ("tokens looked at", held.rows().to_string())]);
    let page = Report {
        title: if sae.predicts {
            "A transcoder of a language model"
        } else {
            "A sparse autoencoder on a language model"
        },
        settings: &settings,
        progress: &[],
        quality: &quality,
        fvu_pca,
        losses: &losses,
        features: &features,
        browser: Some(&browser),
        steered: None,
    };
    io::replace(&options.out, page.html().as_bytes())?;
    println!("{}", options.out.display());
    Ok(())
}
