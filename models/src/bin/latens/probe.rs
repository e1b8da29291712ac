use crate::common::{Done, Place, Reading, progress, tell, write};
use clap::Args;
use latens::io;
use latens::lm::LanguageModel;
use latens::sae::Sae;
use latens::sae::eval::{Draw, Sources, Spelling, Task, binary, first_letters, probe_task_each};
use std::path::PathBuf;

/// The tasks that autoencoders of a place are judged by.
#[derive(Args)]
pub struct Tasked {
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub place: Place,
    /// Only tasks whose names begin with one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Write the figures to this file
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Tasked {
    /// What `judge` finds of each task and these checkpoints. It is told by what it counts texts.
    pub fn each<T>(
        &self,
        checkpoints: &[PathBuf],
        tasks: &[Task],
        judge: impl Fn(&LanguageModel, &[&Sae], &Task, &mut dyn FnMut(usize)) -> io::Result<T>,
    ) -> Done<Vec<T>> {
        let asked = |task: &&Task| self.only.is_empty() || self.only.iter().any(|only| task.name.starts_with(&**only));
        let chosen: Vec<&Task> = tasks.iter().filter(asked).collect();
        if chosen.is_empty() {
            let names: Vec<&str> = tasks.iter().map(|task| &*task.name).collect();
            return Err(format!("--only: no task begins so; there are {}", names.join(", ")).into());
        }
        let opened = self.reading.open()?;
        let load = |path: &PathBuf| Sae::load_at(path, self.place.site(), &opened.device);
        let saes = checkpoints.iter().map(load).collect::<io::Result<Vec<_>>>()?;
        let saes: Vec<&Sae> = saes.iter().collect();
        let judged = chosen.into_iter().map(|task| {
            let bar = progress("texts", task.len()).with_message(task.name.clone());
            let found = judge(&opened.lm, &saes, task, &mut |texts| bar.inc(texts as u64))?;
            bar.finish();
            Ok(found)
        });
        judged.collect()
    }

    /// How texts are drawn, of which each class gets so many, to learn from and to judge by.
    pub fn draw(&self, texts: &[usize], classes: usize) -> Done<Draw> {
        let &[train, test] = texts else { return Err("--texts: two numbers are wanted".into()) };
        if train < classes || test < classes {
            return Err(format!("--texts: {train} and {test} are not one for each of {classes} classes").into());
        }
        Ok(Draw { texts: [train / classes, test / classes], seed: self.reading.seed, ..Draw::default() })
    }
}

#[derive(Args)]
pub struct Options {
    /// Checkpoints of any layout that can be read, for which the model runs once
    #[arg(required = true)]
    checkpoints: Vec<PathBuf>,
    #[command(flatten)]
    tasked: Tasked,
    /// Latents that a sparse probe sees
    #[arg(long, value_delimiter = ',', default_value = "1,2,5")]
    k: Vec<usize>,
    /// Texts of a task to learn from, and to judge by
    #[arg(long, value_delimiter = ',', default_value = "400,200")]
    texts: Vec<usize>,
}

/// Sparse probing on real tasks: speeches, genres, mails.
pub fn run(options: &Options) -> Done {
    let tasked = &options.tasked;
    let tasks = binary(&Sources::locate()?, &tasked.draw(&options.texts, 2)?)?;
    let (site, length) = (tasked.place.site(), tasked.reading.context);
    let all = tasked.each(&options.checkpoints, &tasks, |lm, saes, task, tell| {
        probe_task_each(lm, site, saes, task, length, &options.k, tell)
    })?;
    let mut figures = Vec::new();
    for (at, checkpoint) in options.checkpoints.iter().enumerate() {
        println!("{}", checkpoint.display());
        println!(
            "{:<24}{:>8}{:>8}{:>9}  accuracy by latents (share of the full probe's gain); by the best latents",
            "task", "chance", "full", "latents"
        );
        for found in all.iter().map(|of_task| &of_task[at]) {
            print!("{:<24}{:>8.3}{:>8.3}{:>9.3} ", found.task, found.chance, found.raw, found.latents);
            let told = |share: Option<f64>| share.map_or("-".into(), |share| format!("{share:.2}"));
            for probe in &found.sparse {
                print!(" {}: {:.3} ({})", probe.k, probe.accuracy, told(found.share(probe.k)));
            }
            for probe in &found.sparse {
                print!("; {}: {:.3} ({})", probe.k, probe.best_accuracy, told(found.best_share(probe.k)));
            }
            println!();
            let mut of = serde_json::to_value(found)?;
            of["checkpoint"] = checkpoint.display().to_string().into();
            figures.push(of);
        }
    }
    write(&figures.into(), tasked.json.as_deref())
}

#[derive(Args)]
pub struct Letters {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    place: Place,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Absorption of first letters.
pub fn letters(options: &Letters) -> Done {
    let opened = options.reading.open()?;
    let site = options.place.site();
    let sae = Sae::load_at(&options.checkpoint, site, &opened.device)?;
    let spelling = Spelling { seed: options.reading.seed, ..Spelling::default() };
    let bar = progress("words", spelling.words.iter().sum());
    let found = first_letters(&opened.lm, site, &sae, spelling, Default::default(), |words| bar.inc(words as u64))?;
    bar.finish();
    tell(&serde_json::to_value(&found)?, options.json.as_deref())
}
