use crate::common::{Done, Judged, Opened, progress, write};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use latens::io::{self, Error};
use latens::lm::{Chat, LanguageModel, Local, Remote, Replay};
use latens::sae::eval::{Interpreted, Score, interpret};
use latens::sae::{Browse, Browser, Sae, browser_of};
use latens::{Philox, assets};
use serde_json::json;
use std::path::PathBuf;

/// Latents that are there only for their texts, in which others do not fire.
const OTHERS: usize = 64;
/// Where the key of a server is.
const KEY: &str = "LATENS_CHAT_KEY";

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    judged: Judged,
    /// Latents to explain
    #[arg(long, value_delimiter = ',', conflicts_with = "count")]
    latents: Vec<u32>,
    /// Latents to explain if none are named, drawn by the seed among those that fire
    #[arg(long, default_value_t = 10, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    count: usize,
    /// Texts of a latent, at most: half of them explain it, and half are judged
    #[arg(long, default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(4..))]
    texts: usize,
    /// Who answers: model, or replay=FILE for answers that are kept in a file
    #[arg(long, default_value = "model", value_parser = who)]
    chat: Who,
    /// The model that answers, one that converses in ChatML; with replay=FILE, it answers what is not in the file [default: SmolLM2-135M-Instruct,
    /// with replay=FILE none]
    #[arg(long, conflicts_with = "server")]
    judge: Option<PathBuf>,
    /// Instead of a model here, ask a server that speaks as OpenAI's does: its address up to /v1. A key is taken from LATENS_CHAT_KEY
    #[arg(long, requires = "served")]
    server: Option<String>,
    /// Name of the server's model
    #[arg(long, requires = "server")]
    served: Option<String>,
    /// Write explanations and scores to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum Who {
    Model,
    Replay(PathBuf),
}

fn who(text: &str) -> Result<Who, String> {
    match text.split_once('=') {
        None if text == "model" => Ok(Who::Model),
        Some(("replay", file)) if !file.is_empty() => Ok(Who::Replay(file.into())),
        _ => Err("expected model or replay=FILE".into()),
    }
}

/// Somebody who answers.
type Judge<'a> = Box<dyn Chat + 'a>;

impl Options {
    /// The model here that answers, if it is another than the one that is explained.
    fn other(&self, opened: &Opened) -> Done<Option<LanguageModel>> {
        let asked = self.judge.as_deref();
        let path = match (&self.chat, &self.server) {
            (_, Some(_)) => return Ok(None),
            (Who::Replay(_), _) if asked.is_none() => return Ok(None),
            _ => assets::SMOLLM2.locate(asked)?,
        };
        Ok(if path == opened.model { None } else { Some(LanguageModel::open(&path, &opened.device)?) })
    }

    /// Who answers what is in no file.
    fn asked<'a>(&self, lm: &'a LanguageModel) -> Done<Option<Judge<'a>>> {
        if let (Some(url), Some(model)) = (&self.server, &self.served) {
            let key = std::env::var(KEY).ok();
            return Ok(Some(Box::new(
                Remote::new(url, model, key.as_deref()).map_err(|error| format!("--server: {error}"))?,
            )));
        }
        match (&self.chat, &self.judge) {
            (Who::Replay(_), None) => Ok(None),
            _ => Ok(Some(Box::new(Local::new(lm).map_err(|error| format!("--judge: {error}"))?))),
        }
    }

    fn chat<'a>(&self, lm: &'a LanguageModel) -> Done<Judge<'a>> {
        let asked = self.asked(lm)?;
        match (&self.chat, asked) {
            (Who::Model, Some(asked)) => Ok(asked),
            (Who::Replay(file), None) if !file.is_file() => {
                Err(format!("--chat: there is no file {}", file.display()).into())
            }
            (Who::Replay(file), asked) => Ok(Box::new(Replay::open(file, asked)?)),
            (Who::Model, None) => Err("--chat: nobody answers".into()),
        }
    }

    fn check(&self, sae: &Sae) -> Done {
        let n = sae.latents();
        match self.latents.iter().find(|&&latent| latent as usize >= n) {
            Some(latent) => Err(format!("--latents: {latent} is not one of the {n} latents").into()),
            None => Ok(()),
        }
    }

    /// Which of the living are explained, and behind these, whose texts are besides.
    fn choose(&self, living: &[u32]) -> io::Result<(Vec<u32>, Vec<u32>)> {
        if let Some(dead) = self.latents.iter().find(|latent| living.binary_search(latent).is_err()) {
            let what = format!("{dead} does not fire on the {} contexts", self.judged.contexts);
            return Err(Error::setting("--latents", what));
        }
        let (mut all, mut draw) = (living.to_vec(), Philox::new(self.judged.reading.seed));
        for at in 0..all.len() {
            let other = at + draw.below((all.len() - at) as u32) as usize;
            all.swap(at, other);
        }
        let mut wanted = self.latents.clone();
        if wanted.is_empty() {
            wanted = all.iter().take(self.count).copied().collect();
        }
        all.retain(|latent| !wanted.contains(latent));
        all.truncate(OTHERS);
        Ok((wanted, all))
    }
}

/// Explanations of latents, and how well they are known by them.
pub fn run(options: &Options) -> Done {
    let judged = &options.judged;
    let (opened, sae) = judged.open()?;
    options.check(&sae)?;
    let other = options.other(&opened)?;
    let mut chat = options.chat(other.as_ref().unwrap_or(&opened.lm))?;
    let (held, rows) = judged.read(&opened)?;
    let (strongest, interval) = (options.texts.div_ceil(2), options.texts / 10);
    let browse =
        Browse { strongest, interval, words: 0, neighbours: 0, seed: judged.reading.seed, ..Browse::default() };
    let mut wanted = Vec::new();
    let browser = browser_of(&opened.lm, &sae, &held, rows.view(), &browse, |living| {
        let (ours, others) = options.choose(living)?;
        wanted = ours;
        Ok([&wanted[..], &others].concat())
    })?;
    let all = interpreted(&mut chat, &browser, &wanted, judged.reading.seed)?;
    for (latent, found) in &all {
        match found {
            None => println!("{latent:>8}  fires in too few contexts to be judged"),
            Some(Interpreted { explanation, detection, fuzzing, .. }) => {
                // Of a judge that cannot answer, all is wrong.
                let told = |score: &Score| format!("{:.3} ({:.2} answered)", score.balanced, score.answered);
                println!("{latent:>8}  detection {}  fuzzing {}  {explanation}", told(detection), told(fuzzing));
            }
        }
    }
    let (found, left): (Vec<_>, Vec<_>) = all.iter().partition(|(_, found)| found.is_some());
    let found: Vec<_> = found.into_iter().map(|(_, found)| found).collect();
    let left: Vec<_> = left.into_iter().map(|(latent, _)| latent).collect();
    write(&json!({"explained": found, "too_few_contexts": left}), options.json.as_deref())
}

fn interpreted(
    chat: &mut Judge<'_>,
    browser: &Browser,
    wanted: &[u32],
    seed: u64,
) -> io::Result<Vec<(u32, Option<Interpreted>)>> {
    let bar = progress("explanations", wanted.len());
    let mut all = Vec::new();
    for latent in browser.latents.iter().filter(|latent| wanted.contains(&latent.latent)) {
        all.push((latent.latent, interpret(chat, browser, latent, seed)?));
        bar.inc(1);
    }
    bar.finish();
    Ok(all)
}
