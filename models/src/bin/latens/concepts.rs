use crate::common::{Done, write};
use crate::probe::Tasked;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use latens::sae::eval::{ABLATED, Scr, Sources, Tpp, classed, crossed, scr_task, tpp_task};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Checkpoint of any layout that can be read
    checkpoint: PathBuf,
    #[command(flatten)]
    tasked: Tasked,
    /// Latents to ablate
    #[arg(long, value_delimiter = ',', default_values_t = ABLATED, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    n: Vec<usize>,
    /// Texts of each class to learn from, and to judge by
    #[arg(long, value_delimiter = ',', default_value = "100,50")]
    texts: Vec<usize>,
}

/// Spurious correlation removal: party by era of speeches.
pub fn scr(options: &Options) -> Done {
    let tasked = &options.tasked;
    let tasks = crossed(&Sources::locate()?, &tasked.draw(&options.texts, 1)?)?;
    let (site, length) = (tasked.place.site(), tasked.reading.context);
    let of = std::slice::from_ref(&options.checkpoint);
    let all =
        tasked.each(of, &tasks, |lm, saes, task, tell| scr_task(lm, site, saes[0], task, length, &options.n, tell))?;
    println!("{:<24}{:>14}{:>14}  score by latents ablated", "concepts", "biased", "clean");
    for Scr { pair, base, clean, scores } in &all {
        let [base, clean] = [base, clean].map(|[one, other]| format!("{one:.3} {other:.3}"));
        print!("{pair:<24}{base:>14}{clean:>14} ");
        for found in scores {
            print!(" {}: {}", found.n, found.score.map_or("-".into(), |score| format!("{score:.3}")));
        }
        println!();
    }
    write(&serde_json::to_value(&all)?, tasked.json.as_deref())
}

/// Targeted probe perturbation: genres, and speeches by party and era.
pub fn tpp(options: &Options) -> Done {
    let tasked = &options.tasked;
    let tasks = classed(&Sources::locate()?, &tasked.draw(&options.texts, 1)?)?;
    let (site, length) = (tasked.place.site(), tasked.reading.context);
    let of = std::slice::from_ref(&options.checkpoint);
    let all = tasked.each(of, &tasks, |lm, saes, task, tell| {
        Ok((task.name.clone(), tpp_task(lm, site, saes[0], task, length, &options.n, tell)?))
    })?;
    println!("{:<24}{:>8}{:>8}  score by latents ablated (lost by their class, by others)", "task", "classes", "clean");
    for (task, Tpp { classes, clean, scores }) in &all {
        print!("{task:<24}{:>8}{:>8.3} ", classes.len(), clean.iter().sum::<f64>() / clean.len() as f64);
        for found in scores {
            print!(" {}: {:.3} ({:.3}, {:.3})", found.n, found.score, found.intended, found.unintended);
        }
        println!();
    }
    let figures: Vec<Value> = all
        .iter()
        .map(|(task, found)| json!({"task": task, "classes": found.classes, "clean": found.clean, "scores": found.scores}))
        .collect();
    write(&figures.into(), tasked.json.as_deref())
}
