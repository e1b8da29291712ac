//! What autoencoders are judged by.
use super::*;

/// An autoencoder after a few steps, and where it belongs.
fn small(folder: &Folder) -> String {
    train(folder, "run", &["--steps", "6", "--layer", "0", "--k", "8"]);
    format!("{}/blocks.0.hook_resid_post-topk-0/sae", folder.path("run"))
}

const PLACE: [&str; 6] = ["--layer", "0", "--context", "32", "--device", "cpu"];

fn json(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn concepts_are_taken_out() {
    if text().is_none() || [&BROWN, &SPEAKERS].iter().any(|asset| asset.for_test().is_none()) {
        return;
    }
    let folder = Folder::new("concepts");
    let sae = small(&folder);
    for (what, task) in [("scr", "party by era 1933"), ("tpp", "party")] {
        let (figures, few) = (folder.path(what), ["--texts", "6,4", "--n", "2,20", "--only", task]);
        let said = fine(&[&["sae", what, &sae, "--json", &figures][..], &PLACE, &few].concat());
        assert!(said.lines().count() == 2 && said.contains(task) && said.contains(" 20: "), "{said}");
        let figures = json(&figures);
        let scores = figures[0]["scores"].as_array().unwrap();
        assert!(scores.len() == 2 && scores[1]["n"] == 20, "{figures}");
        assert!(refused(&["sae", what, &sae, "--n", "3,0"]).contains("--n"));
    }
    let said = refused(&["sae", "scr", &sae, "--only", "spam", "--texts", "6,4"]);
    assert!(said.contains("--only") && said.contains("party by era 1900"), "{said}");
    assert!(refused(&["sae", "tpp", &sae, "--texts", "6"]).contains("--texts"));
    assert!(refused(&["sae", "tpp", &folder.path("nowhere"), "--texts", "6,4"]).contains("nowhere"));
    let said = refused(&["sae", "tpp", &sae, "--layer", "1", "--texts", "6,4"]);
    assert!(said.contains("was trained at blocks.0.hook_resid_post, not at blocks.1.hook_resid_post"), "{said}");
}

/// Two checkpoints are judged on one run of the model as each is alone.
#[test]
fn latents_are_probed() {
    if text().is_none() || SPEAKERS.for_test().is_none() {
        return;
    }
    let folder = Folder::new("probe");
    let run = |out: &str, k: &str| {
        train(&folder, out, &["--steps", "6", "--layer", "0", "--k", k]);
        format!("{}/blocks.0.hook_resid_post-topk-0/sae", folder.path(out))
    };
    let (sae, other, figures) = (run("run", "8"), run("other", "4"), folder.path("probes"));
    let few = ["--texts", "24,12", "--k", "1,2", "--only", "party"];
    let probe = |saes: &[&str]| fine(&[&["sae", "probe"][..], saes, &["--json", &figures], &PLACE, &few].concat());
    let said = probe(&[&sae, &other]);
    let both = json(&figures);
    let both = both.as_array().unwrap();
    assert!(both.len() >= 2 && both.len().is_multiple_of(2) && said.contains(&other), "{said}");
    probe(&[&other]);
    assert_eq!(json(&figures).as_array().unwrap()[..], both[both.len() / 2..]);
    assert!(both[0]["sparse"][1]["best_accuracy"].as_f64().is_some_and(|right| right > 0.0));
    assert!(refused(&["sae", "probe", "--texts", "24,12"]).contains("CHECKPOINTS"));
    let many = ["--k", "97", "--texts", "8,4", "--only", "party"];
    assert!(refused(&[&["sae", "probe", &sae][..], &PLACE, &many].concat()).contains("97 is not from 1"));
}

/// A latent is put into words by the model itself, whose answers are kept, and given again without it.
#[test]
fn latents_are_explained() {
    let Some(text) = text() else { return };
    let folder = Folder::new("explain");
    let sae = small(&folder);
    let (answers, figures) = (folder.path("answers"), folder.path("explained.json"));
    let replay = format!("replay={answers}");
    let few = ["--text", &text, "--contexts", "6", "--texts", "4"];
    let explain =
        |run: fn(&[&str]) -> String, more: &[&str]| run(&[&["sae", "explain", &sae][..], &PLACE, &few, more].concat());
    let said = explain(refused, &["--chat", &replay]);
    assert!(said.contains("--chat") && said.contains("answers"), "{said}");
    let model = SMOLLM2.locate(None).unwrap();
    let asked = ["--chat", &replay, "--count", "1", "--seed", "3", "--json", &figures];
    let said = explain(fine, &[&asked[..], &["--judge", model.to_str().unwrap()]].concat());
    let found = &json(&figures)["explained"][0];
    assert!(said.lines().count() == 1 && said.contains(found["explanation"].as_str().unwrap()), "{said}");
    assert!(found["detection"]["balanced"].as_f64().is_some() && found["texts"][2] != 0, "{found}");
    assert_eq!(explain(fine, &asked), said);
    let latent = found["latent"].to_string();
    assert_eq!(explain(fine, &["--chat", &replay, "--seed", "3", "--latents", &latent]), said);
    for (more, named) in [
        (&["--latents", "96"][..], "--latents: 96 is not one of the 96 latents"),
        (&["--count", "0"], "--count"),
        (&["--latents", "1", "--count", "2"], "--count"),
        (&["--chat", "nobody"], "expected model or replay=FILE"),
        (&["--server", "http://localhost:1/v1"], "--served"),
        (&["--server", "localhost", "--served", "m"], "--server: url"),
        (&["--server", "http://127.0.0.1:1/v1", "--served", "m"], "127.0.0.1:1"),
    ] {
        let said = explain(refused, more);
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn firings_are_kept() {
    let Some(text) = text() else { return };
    let folder = Folder::new("cache");
    let (sae, out) = (small(&folder), folder.path("cache"));
    let cache = |run: fn(&[&str]) -> String, more: &[&str]| {
        run(&[&["sae", "cache", &sae, "--out", &out, "--text", &text, "--contexts", "20"][..], &PLACE, more].concat())
    };
    let said = cache(fine, &["--ranges", "3", "--half"]);
    assert!(said.contains("96 latents on 20 contexts are in 3 files"), "{said}");
    let kept = latens::sae::Cache::open(Path::new(&out)).unwrap();
    assert_eq!((kept.latents(), kept.contexts()), (96, [20, 32]));
    let fired: usize = (0..3).map(|range| kept.range(range).unwrap().len()).sum();
    assert!(fired > 0 && fired <= 20 * 30 * 8, "{fired}");
    assert!(cache(refused, &["--ranges", "0"]).contains("--ranges"));
    assert!(cache(refused, &["--ranges", "97"]).contains("--ranges: 97"));
    assert!(refused(&["sae", "cache", &folder.path("nowhere"), "--out", &out]).contains("nowhere"));
}
