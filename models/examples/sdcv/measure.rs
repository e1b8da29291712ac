//! One concept: vectors by every method, at every strength.
use crate::concepts::Concept;
use crate::gain::speaks;
use crate::judge::{Judge, Meanings, cosine};
use crate::shared::{digits, ones};
use crate::{Options, Outcome, progress};
use latens::lm::{Hooks, LanguageModel, Site};
use latens::sae::Sae;
use latens::steer::sdcv::{Denoise, Estimate, Found, Sdcv, Select};
use latens::steer::statistics::{Interval, bootstrap};
use latens::steer::{Begun, Places, Pooling, Positions, Push, Run, Vector, states};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cell::RefCell;

/// Tokens of a text.
const TEXT: usize = 48;
/// Latents of a method that are among the figures.
const LOOKED_AT: usize = 16;
/// How much more surprising than the unchanged model's a continuation may be, in nats for each token.
const ODD: f64 = 1.0;

/// A method at a strength, over some prompts.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tried {
    /// In multiples of the mean length of the texts' states, which are means over tokens.
    pub strength: f32,
    pub success: Interval,
    /// The cosine of the embeddings of a prompt and what is said.
    pub relevance: Interval,
    /// Nats for each token, to the model as it is.
    pub surprise: Interval,
    /// The first thing said.
    pub said: String,
    #[serde(with = "digits")]
    pub each: Vec<bool>,
}

#[derive(Serialize, Deserialize)]
pub struct Method {
    pub name: String,
    pub settings: Sdcv,
    /// Of the latents that were kept the best, best first, and of the others the strongest: no more of each than a reader looks at.
    pub latents: Vec<(u32, f64)>,
    pub others: Vec<(u32, f64)>,
    /// The cosine with the raw vector of the same kind.
    pub to_raw: f64,
    /// The strength that was best on prompts for that.
    pub chosen: f32,
    /// With the prompts that it is judged by.
    pub tried: Vec<Tried>,
    /// At the chosen strength.
    pub best: Tried,
}

#[derive(Serialize, Deserialize)]
pub struct Measured {
    pub concept: String,
    pub what: String,
    pub texts: [usize; 2],
    pub judge: String,
    /// The share of real texts that the judge tells right.
    pub judge_right: Interval,
    pub plain: Tried,
    pub methods: Vec<Method>,
}

/// Every method, raw ones before what is made of them.
pub fn methods(options: &Options) -> Outcome<Vec<(String, Sdcv)>> {
    let select = |name: &str| -> Outcome<Select> { Ok(serde_json::from_value(json!(name))?) };
    let usual = Sdcv { select: select(&options.select)?, k: options.k, ..Sdcv::default() };
    let probe = Estimate::Logistic { l2: 1.0, standardised: false };
    let more = Denoise::Scaled { by: 5.0, error: true };
    let mut all = Vec::new();
    for (name, estimate) in [("DiM", Estimate::Means), ("LP", probe)] {
        for (denoised, denoise) in [("raw", Denoise::Raw), ("denoised", Denoise::Masked), ("scaled", more)] {
            all.push((format!("{name} {denoised}"), Sdcv { denoise, estimate, ..usual }));
        }
    }
    all.push(("DiM discarded".into(), Sdcv { discarded: true, ..usual }));
    for &k in &options.ks {
        all.push((format!("DiM denoised by {k}"), Sdcv { k, ..usual }));
        all.push((format!("DiM discarded by {k}"), Sdcv { k, discarded: true, ..usual }));
    }
    for name in &options.selects {
        all.push((format!("DiM denoised by {name}"), Sdcv { select: select(name)?, ..usual }));
    }
    Ok(all)
}

/// All that concepts share.
pub struct Bench<'a> {
    pub lm: &'a LanguageModel,
    pub sae: &'a Sae,
    pub layer: usize,
    pub meanings: &'a Meanings,
    /// To choose strengths by, and to judge by.
    pub prompts: [Vec<String>; 2],
    /// The same, read once for all that is tried: up to the residual that is changed, and but for the last tokens.
    pub begun: [RefCell<[Begun<'a>; 2]>; 2],
    pub options: &'a Options,
}

impl Bench<'_> {
    pub fn measure(&self, concept: &Concept) -> Outcome<(Measured, Vec<Vector>)> {
        let (texts, seed) = (self.options.texts, self.options.common.seed);
        let [shows, not] = [&concept.shows, &concept.not];
        let most = texts.min(shows.len() / 2).min(not.len() / 2);
        // The first texts make vectors, those behind them judges.
        let labelled = |from: usize, count: usize| {
            let take = |of: &[String], label| {
                of.iter().skip(from).take(count).map(move |text| (text.clone(), label)).collect::<Vec<_>>()
            };
            let (yes, no) = (take(shows, true), take(not, false));
            yes.into_iter().zip(no).flat_map(|(a, b)| [a, b]).collect::<Vec<_>>()
        };
        let (ours, theirs) = (labelled(0, most), labelled(most, 4 * most));
        let (judge, judge_right) = Judge::of(concept, &theirs, self.meanings, seed)?;
        let ids = ours.iter().map(|(text, _)| ids(self.lm, text)).collect::<Outcome<Vec<_>>>()?;
        let labels: Vec<bool> = ours.iter().map(|(_, label)| *label).collect();
        let site = Site::residual(self.layer);
        let seen = states(self.lm, site, self.sae, &ids, Pooling::Mean, |_| ())?;
        let lengths = seen.raw().chunks_exact(seen.d()).map(|row| row.iter().map(|x| x * x).sum::<f32>().sqrt());
        let typical = lengths.sum::<f32>() / labels.len() as f32;
        let methods = methods(self.options)?;
        let bar = progress(
            "steered",
            methods.len() * self.options.strengths.len() * (self.prompts[0].len() + self.prompts[1].len()),
        );
        let bar = bar.with_message(concept.name);
        let (mut all, mut vectors) = (Vec::new(), Vec::new());
        // Of means and of regressions, each before what is made of it.
        let mut raws: Vec<(Estimate, Vec<f32>)> = Vec::new();
        let plain = self.tried(&judge, &[], 0.0, 1, &|_| ())?;
        let usual = self.tried(&judge, &[], 0.0, 0, &|_| ())?.surprise.mean;
        for (name, settings) in methods {
            let Found { values, mut latents, mut others } = settings.find(self.sae, &seen, &labels)?;
            latents.truncate(LOOKED_AT);
            others.truncate(LOOKED_AT);
            if settings.denoise == Denoise::Raw {
                raws.push((settings.estimate, values.clone()));
            }
            let raw = raws.iter().find(|(estimate, _)| *estimate == settings.estimate).map_or(&[][..], |(_, raw)| raw);
            let vector = Vector {
                concept: concept.name.into(),
                method: name.clone(),
                site,
                values,
                model: self.lm.model.sha256()?,
                typical,
                notes: serde_json::Map::from_iter([("settings".to_owned(), serde_json::to_value(settings)?)]),
            };
            let to_raw =
                cosine(raw, &vector.values) / (cosine(raw, raw) * cosine(&vector.values, &vector.values)).sqrt();
            let unit = vector.clone().of_length(typical)?;
            let at = |part: usize| -> Outcome<Vec<Tried>> {
                let of = |&strength: &f32| self.tried(&judge, &unit.values, strength, part, &|n| bar.inc(n as u64));
                self.options.strengths.iter().map(of).collect()
            };
            // The most successful of those that still speak like the model; of equal ones the first. If none does, the first.
            let first = at(0)?;
            let sound = first.iter().filter(|tried| tried.surprise.mean <= usual + ODD);
            let chosen = sound.fold(None, |best: Option<&Tried>, next| match best {
                Some(best) if best.success.mean >= next.success.mean => Some(best),
                _ => Some(next),
            });
            let chosen = chosen.or(first.first()).map_or(0.0, |tried| tried.strength);
            let tried = at(1)?;
            let best =
                tried.iter().find(|tried| tried.strength == chosen).cloned().ok_or("--strengths: there are none")?;
            all.push(Method { name, settings, latents, others, to_raw, chosen, tried, best });
            vectors.push(unit);
        }
        bar.finish();
        let measured = Measured {
            concept: concept.name.into(),
            what: concept.what.into(),
            texts: [labels.len(), theirs.len()],
            judge: judge.name().into(),
            judge_right,
            plain,
            methods: all,
        };
        Ok((measured, vectors))
    }

    /// What is said with so much of a vector added, at every token.
    fn tried(&self, judge: &Judge, vector: &[f32], strength: f32, part: usize, tell: &dyn Fn(usize)) -> Outcome<Tried> {
        let (seed, prompts) = (self.options.common.seed, &self.prompts[part]);
        let device = self.lm.model.device();
        let hooks = |_| match vector {
            [] => Ok(Hooks::new()),
            values => {
                let push = Push::new(values, strength, device)?;
                Ok(push.into_hooks(Site::residual(self.layer), Places::new(Positions::All)))
            }
        };
        let [at_residual, but_last] = &mut *self.begun[part].borrow_mut();
        let said = at_residual.go(hooks, tell)?;
        let odd = but_last.surprise(&said.iter().map(|of| of.ids.clone()).collect::<Vec<_>>())?;
        let texts: Vec<String> = said.iter().map(|of| of.text.trim().to_owned()).collect();
        let shown = judge.show(&texts, self.meanings)?;
        let each: Vec<bool> = shown.into_iter().zip(&said).map(|(shown, of)| shown && speaks(of)).collect();
        let about = self.meanings.of(prompts)?.into_iter().zip(self.meanings.of(&texts)?).map(|(a, b)| cosine(&a, &b));
        Ok(Tried {
            strength,
            success: bootstrap(&ones(each.iter().copied()), seed)?,
            relevance: bootstrap(&about.collect::<Vec<_>>(), seed)?,
            surprise: bootstrap(&odd, seed)?,
            said: texts.first().cloned().unwrap_or_default(),
            each,
        })
    }
}

fn ids(lm: &LanguageModel, text: &str) -> Outcome<Vec<u32>> {
    let mut ids = lm.tokenizer.encode(text)?;
    ids.splice(0..0, lm.tokenizer.begin());
    ids.truncate(TEXT);
    Ok(ids)
}

/// Show the model prompts up to the residual after `layer`, and but for their last tokens.
pub fn begin<'a>(
    lm: &'a LanguageModel,
    prompts: &[String],
    layer: usize,
    said: usize,
) -> Outcome<RefCell<[Begun<'a>; 2]>> {
    let ids = prompts.iter().map(|prompt| ids(lm, prompt)).collect::<Outcome<Vec<_>>>()?;
    let run = Run { together: 64, ..Run::new(lm, said) };
    Ok(RefCell::new([run.begin(&ids, layer)?, run.begin_last(&ids)?]))
}
