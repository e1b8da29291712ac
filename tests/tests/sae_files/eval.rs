//! The evaluation of autoencoders on real texts.
use latens::assets::{BROWN, HAM, SMOLLM2, SPAM, SPEAKERS, SPEECHES};
use latens::lm::{Chat, LanguageModel, Local, Message, Site};
use latens::sae::eval::{
    Core, Downstream, Draw, Sources, Task, binary, brown, classed, crossed, era, mails, probe_task, sentences,
    speeches, words,
};
use latens::sae::{Config, Contexts, Gate, Sae, Trainer};
use latens::{Device, Tensor};
use std::fs;

/// Low in the model, for the time that it takes.
const SITE: Site = Site { layer: 6, point: latens::lm::Point::Residual };

/// An autoencoder of 512 latents, after some hundred steps on one speech.
fn trained(lm: &LanguageModel, contexts: &Contexts) -> Sae {
    const BATCH: usize = 256;
    let (d, steps) = (lm.model.config().dim, 150);
    let mut rows = Tensor::zeros([contexts.rows(), d], &Device::Host).unwrap();
    contexts.activations(&lm.model, SITE, 0, &mut rows, |_| ()).unwrap();
    let config = Config { batch: BATCH, rate: 2e-3, seed: 1, ..Config::new(d, 512, 16, steps) };
    let mut trainer = Trainer::new(config, rows.host().unwrap(), &Device::Host).unwrap();
    for step in 0..steps {
        let first = step * 97 % (rows.dims()[0] - BATCH);
        trainer.step(rows.view().narrow(0, first, first + BATCH).unwrap()).unwrap();
    }
    trainer.finish().unwrap()
}

/// Latents along both ways of every axis: nothing is lost.
fn identity(d: usize) -> Sae {
    let mut rows = vec![0.0; 2 * d * d];
    (0..d).for_each(|at| (rows[at * d + at], rows[(d + at) * d + at]) = (1.0, -1.0));
    Sae::tied(rows, vec![0.0; d], Gate::Strongest(d), &Device::Host).unwrap()
}

/// A speech of another century can be told by its activations, and partly by a few latents; and what the reconstruction costs the model
/// lies between nothing and all.
#[test]
fn a_small_autoencoder_of_a_real_model() {
    let (Some(model), Some(folder), Some(table)) = (SMOLLM2.for_test(), SPEECHES.for_test(), SPEAKERS.for_test())
    else {
        return;
    };
    let lm = LanguageModel::open(&model, &Device::Host).unwrap();
    let text = fs::read_to_string(folder.join("1981-Carter-1.txt")).unwrap();
    let ids = lm.tokenizer.encode(&text[..12_000]).unwrap();
    let contexts =
        |first: usize, count: usize| Contexts { ids: ids[first * 64..(first + count) * 64].to_vec(), length: 64 };
    let sae = trained(&lm, &contexts(0, 24));

    let task = era(&speeches(&folder, &table).unwrap(), 1900, &Draw { words: 40, texts: [100, 50], seed: 5 }).unwrap();
    let mut told = 0;
    let found = probe_task(&lm, SITE, &sae, &task, 48, &[1, 2, 5], |texts| told += texts).unwrap();
    println!("{found:?}");
    assert_eq!((found.texts, found.chance, told), ([200, 100], 0.5, task.len()));
    assert!(found.raw > 0.7, "{found:?}");
    let five = &found.sparse[2];
    assert!(five.latents.len() == 5 && (0.4..=1.0).contains(&five.accuracy), "{found:?}");
    assert!(found.sparse.iter().any(|probe| probe.accuracy > 0.55), "{found:?}");

    let held = contexts(26, 2);
    let core = Core::measure_in(&lm.model, SITE, &held, &sae, |_| ()).unwrap();
    println!("{core:?}");
    let harm = core.downstream.unwrap();
    assert!(core.fvu > 0.0 && core.fvu < 1.0 && core.l0 > 1.0 && core.l0 <= 16.0, "{core:?}");
    assert!((0.0..1.0).contains(&harm.kl_score) && harm.kl_sae > 0.0, "{harm:?}");
    assert!(harm.ce_clean < harm.ce_sae && harm.ce_sae < harm.ce_zero, "{harm:?}");
    let held = contexts(26, 1);
    let same = Downstream::measure(&lm.model, SITE, &held, &identity(sae.d()), |_| ()).unwrap();
    assert!((same.kl_score - 1.0).abs() < 1e-5 && (same.ce_recovered - 1.0).abs() < 1e-4, "{same:?}");

    // The model answers, always alike, and what looks like the end of a turn is none.
    let mut chat = Local::new(&lm).unwrap();
    let mut ask = |text: &str| chat.answer(&[Message::user(text)], 16).unwrap();
    let said = ask("What is the capital of France?");
    assert!(said.contains("Paris"), "{said}");
    assert_eq!(said, ask("What is the capital of<|im_end|> France?"));

    // Many tokens of this vocabulary are words, and begin with every letter.
    let words = words(&lm);
    assert!(words.len() > 10_000 && ('a'..='z').all(|letter| words.iter().any(|word| word.letter() == letter)));
    assert!(words.iter().all(|word| lm.tokenizer.text(word.id) == format!(" {}", word.text)));
}

#[test]
fn every_task_can_be_drawn() {
    let all = [&SPEECHES, &SPEAKERS, &BROWN, &HAM, &SPAM];
    if all.iter().any(|asset| asset.for_test().is_none()) {
        return;
    }
    let sources = Sources::locate().unwrap();
    assert_eq!(speeches(&sources.speeches, &sources.metadata).unwrap().len(), 249);
    let essays = brown(&sources.brown).unwrap();
    assert_eq!(essays.len(), 500);
    assert!(
        essays[0].text.starts_with("The Fulton County Grand Jury said Friday an investigation"),
        "{}",
        &essays[0].text[..80]
    );
    assert!(mails(&sources.spam).unwrap().len() > 300);
    let draw = Draw::default();
    let tasks = binary(&sources, &draw).unwrap();
    assert_eq!(tasks.len(), 9);
    let first = &sentences(&sources.brown).unwrap()[0];
    assert!(first.past() == Some(true) && !first.negated() && first.document == 0, "{first:?}");
    for task in &tasks {
        assert_eq!((task.train.len(), task.test.len(), task.classes.len()), (400, 200, 2), "{}", task.name);
    }
    let sizes = |tasks: Vec<Task>| tasks.iter().map(|task| (task.classes.len(), task.len())).collect::<Vec<_>>();
    assert_eq!(sizes(crossed(&sources, &draw).unwrap()), [(4, 1200); 2]);
    assert_eq!(sizes(classed(&sources, &draw).unwrap()), [(8, 2400), (4, 1200)]);
}
