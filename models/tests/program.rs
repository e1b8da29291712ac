//! The program `latens`, as a shell calls it, on a real language model.
use latens::assets::{BROWN, SMOLLM2, SPEAKERS};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fs, str};

fn latens(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_latens")).args(arguments).output().unwrap()
}

fn fine(arguments: &[&str]) -> String {
    let done = latens(arguments);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let done = latens(arguments);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && !said.contains("panicked"), "{arguments:?}: {said}");
    said
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("latens-program-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SMALL: [&str; 12] =
    ["--context", "32", "--tokens", "300", "--batch", "64", "--latents", "96", "--device", "cpu", "--room", "600"];

/// One speech: to read all of them takes longer than all the rest.
fn text() -> Option<String> {
    let (model, speeches) = (latens::assets::SMOLLM2.for_test(), latens::assets::SPEECHES.for_test());
    model.and(speeches).map(|folder| folder.join("1981-Carter-1.txt").to_str().unwrap().to_owned())
}

fn train(folder: &Folder, out: &str, more: &[&str]) -> String {
    let (out, text) = (folder.path(out), text().unwrap());
    fine(&[&["sae", "train", "--out", &out, "--text", &text][..], &SMALL, more].concat())
}

fn bytes(folder: &Folder, out: &str, run: &str) -> Vec<u8> {
    fs::read(Path::new(&folder.path(out)).join(run).join("sae/sae_weights.safetensors")).unwrap()
}

/// Two layers and two seeds on one run of the model: from the disk and on the fly the same bytes, and each is what a run alone gives.
#[test]
fn many_are_trained_on_one_run() {
    let Some(text) = text() else { return };
    let folder = Folder::new("train");
    let config = folder.path("gated.json");
    fs::write(&config, r#"{"variant": {"gated": {"sparsity": {"weight": 1, "cost": {"power": 1}}}}, "bias": -1}"#)
        .unwrap();
    let kept = folder.path("kept");
    let many = ["--steps", "6", "--layer", "0,2", "--seeds", "0,1", "--config", &config];
    let said = train(&folder, "many", &[&many[..], &["--activations", &kept]].concat());
    assert_eq!(said.lines().count(), 4, "{said}");
    train(&folder, "again", &[&many[..], &["--activations", &kept]].concat());
    train(&folder, "fly", &many);
    for layer in [0, 2] {
        let runs: Vec<_> = (0..2).map(|seed| format!("blocks.{layer}.hook_resid_post-gated-{seed}")).collect();
        for run in &runs {
            let whole = bytes(&folder, "many", run);
            assert!(whole == bytes(&folder, "again", run) && whole == bytes(&folder, "fly", run), "{run}");
        }
        assert!(bytes(&folder, "many", &runs[0]) != bytes(&folder, "many", &runs[1]));
    }
    train(&folder, "one", &["--steps", "6", "--layer", "2", "--config", &config, "--seeds", "0"]);
    let run = "blocks.2.hook_resid_post-gated-0";
    assert!(bytes(&folder, "one", run) == bytes(&folder, "many", run));

    let sae = Path::new(&folder.path("many")).join(run).join("sae");
    let (sae, figures) = (sae.to_str().unwrap().to_owned(), folder.path("eval.json"));
    let judged =
        ["--text", &text, "--layer", "2", "--context", "32", "--contexts", "4", "--spliced", "2", "--device", "cpu"];
    fine(&[&["sae", "eval", &sae, "--json", &figures][..], &judged].concat());
    let figures: Value = serde_json::from_str(&fs::read_to_string(figures).unwrap()).unwrap();
    let number = |part: &Value, name: &str| part[name].as_f64().unwrap();
    let harm = &figures["downstream"];
    assert!(number(&figures, "fvu") > 0.0 && number(&figures, "l0") > 0.0, "{figures}");
    assert!(number(harm, "ce_zero") > number(harm, "ce_clean"), "{figures}");
    let twice = fine(&["sae", "agree", &sae, &sae]);
    assert!(serde_json::from_str::<Value>(&twice).unwrap()["share"][0] == 1.0, "{twice}");
    let shown = fine(&["sae", "show", &sae]);
    assert!(shown.contains("latents    96") && shown.contains("a gate"), "{shown}");
    let shown = fine(&["sae", "show", &sae, "--latent", "3", "--tokens", "4", "--device", "cpu"]);
    assert_eq!(shown.lines().count(), 10, "{shown}");
    let page = folder.path("page.html");
    fine(&[&["sae", "report", &sae, "--out", &page, "--latents", "4"][..], &judged].concat());
    assert!(fs::read_to_string(page).unwrap().contains("</html>"));
}

#[test]
fn checkpoints_are_converted_and_runs_resumed() {
    let Some(text) = text() else { return };
    let folder = Folder::new("convert");
    train(&folder, "whole", &["--steps", "6", "--layer", "0", "--k", "4"]);
    let run = "blocks.0.hook_resid_post-topk-0";
    // A run of fewer steps is another run; the same from its state ends at once, and alike.
    let again = fine(
        &[
            &["sae", "train", "--resume", "--text", &text, "--out", &folder.path("whole")][..],
            &SMALL,
            &["--steps", "6", "--layer", "0", "--k", "4"],
        ]
        .concat(),
    );
    assert!(again.contains(run), "{again}");
    let said = refused(
        &[
            &["sae", "train", "--resume", "--text", &text, "--out", &folder.path("whole")][..],
            &SMALL,
            &["--steps", "7", "--layer", "0", "--k", "4"],
        ]
        .concat(),
    );
    assert!(said.contains("other settings"), "{said}");
    let from = format!("{}/{run}/sae", folder.path("whole"));
    let [sparse, back] = ["sparsify", "back"].map(|name| folder.path(name));
    fine(&["sae", "convert", &from, &sparse, "--format", "sparsify"]);
    fine(&["sae", "convert", &sparse, &back]);
    let weights = |folder: &str| {
        let file =
            latens::io::safetensors::Safetensors::open(&Path::new(folder).join("sae_weights.safetensors")).unwrap();
        file.read("W_dec", &[96, 576]).unwrap()
    };
    assert!(weights(&back) == weights(&from));
}

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
    assert!(
        refused(&["sae", "probe", &sae, "--k", "97", "--texts", "8,4", "--only", "party"]).contains("97 is not from 1")
    );
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

/// What is left out never reaches a trainer: from the disk and on the fly the same bytes.
#[test]
fn tokens_are_left_out() {
    if text().is_none() {
        return;
    }
    let folder = Folder::new("exclude");
    let usual =
        ["--steps", "6", "--k", "4", "--site", "blocks.*.hook_mlp_out", "--site", "*.1.*", "--layers-every", "15"];
    let some = [&usual[..], &["--exclude-first", "1", "--exclude-ids", "28,30", "--exclude-special"]].concat();
    let kept = folder.path("kept");
    let said = train(&folder, "disk", &[&some[..], &["--activations", &kept]].concat());
    assert_eq!(said.lines().count(), 2, "{said}");
    train(&folder, "fly", &some);
    train(&folder, "usual", &usual);
    for layer in [0, 15] {
        let run = format!("blocks.{layer}.hook_mlp_out-topk-0");
        assert!(bytes(&folder, "disk", &run) == bytes(&folder, "fly", &run), "{run}");
        assert!(bytes(&folder, "disk", &run) != bytes(&folder, "usual", &run), "{run}");
    }
    let note: Value = serde_json::from_slice(&fs::read(Path::new(&kept).join("shards.json")).unwrap()).unwrap();
    let ids = note["chosen"]["exclude"]["ids"].as_array().unwrap();
    // The tokenizer's own are the first 17 of SmolLM2's.
    assert!(ids.len() == 19 && ids[16] == 16 && ids[17] == 28 && note["version"] == 2, "{note}");
    // 10 contexts of 31 tokens, without commas and stops.
    assert!((250..310).contains(&note["rows"].as_u64().unwrap()), "{note}");

    let long = folder.path("long-kept");
    let one = ["--steps", "6", "--k", "4", "--layer", "15", "--exclude-first", "0", "--exclude-longer", "5"];
    train(&folder, "long", &[&one[..], &["--activations", &long]].concat());
    let note: Value = serde_json::from_slice(&fs::read(Path::new(&long).join("shards.json")).unwrap()).unwrap();
    // The first token of each context is a sink.
    assert!((290..=310).contains(&note["rows"].as_u64().unwrap()), "{note}");
}

/// Transcoders of layers beside autoencoders of places, on one run of the model.
#[test]
fn transcoders_are_trained() {
    let Some(text) = text() else { return };
    let folder = Folder::new("transcode");
    let config = |name: &str, what: &str| {
        let path = folder.path(name);
        fs::write(&path, what).unwrap();
        path
    };
    let across = config(
        "across.json",
        r#"{"transcode": {"skip": false}, "variant": {"relu": {"weight": 0.1, "cost": {"power": 1}}}}"#,
    );
    let skip = config("skip.json", r#"{"transcode": {"skip": true}}"#);
    let plain = config("plain.json", "{}");
    let few = ["--steps", "6", "--k", "4", "--layer", "1,0", "--config"];
    let both = format!("{across},{plain}");
    let said = train(&folder, "both", &[&few[..], &[&both]].concat());
    assert_eq!(said.lines().count(), 4, "{said}");
    let kept = folder.path("kept");
    train(&folder, "alone", &[&few[..], &[&across, "--activations", &kept, "--point", "mlp-input"]].concat());
    for layer in [0, 1] {
        let run = format!("blocks.{layer}.ln2.hook_normalized-across-0");
        assert!(bytes(&folder, "both", &run) == bytes(&folder, "alone", &run), "{run}");
    }
    assert!(!bytes(&folder, "both", "blocks.0.hook_resid_post-plain-0").is_empty());
    let said = train(&folder, "skip", &[&few[..], &[&skip]].concat());
    let shown = fine(&["sae", "show", said.lines().next().unwrap()]);
    assert!(shown.contains("latents    96"), "{shown}");
    let eval = ["sae", "eval", said.lines().next().unwrap(), "--text", &text, "--contexts", "4", "--context", "32"];
    assert!(refused(&eval).contains("is a transcoder"));
    let out = folder.path("refused");
    let with = |more: &[&str]| {
        let usual = ["sae", "train", "--text", &text, "--out", &out, "--steps", "6", "--k", "4", "--config", &skip];
        refused(&[&usual[..], &SMALL, more].concat())
    };
    assert!(with(&["--format", "saelens"]).contains("SAELens' layout has transcoders by a rectifier"));
    assert!(with(&["--format", "sparsify", "--point", "mlp"]).contains("reads mlp-input and predicts mlp"));
}

/// Killed on the way and resumed with fewer seeds, which changes nothing for those that are left; nobody writes over it unasked.
#[test]
fn interrupted_runs_go_on() {
    let Some(text) = text() else { return };
    let folder = Folder::new("resumed");
    let run = "blocks.0.hook_resid_post-topk-1";
    let few = ["--layer", "0", "--k", "4", "--steps", "90", "--save-every", "15"];
    train(&folder, "whole", &[&few[..], &["--seeds", "1"]].concat());
    let out = folder.path("parts");
    let arguments = [&["sae", "train", "--out", &out, "--text", &text][..], &SMALL, &few].concat();
    let mut first = Command::new(env!("CARGO_BIN_EXE_latens"));
    let first = first.args(&arguments).args(["--seeds", "0,1"]).stderr(Stdio::null()).stdout(Stdio::null());
    let mut first = first.spawn().unwrap();
    let state = Path::new(&out).join(run).join("state.safetensors");
    while !state.is_file() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let done = Path::new(&out).join(run).join("sae").is_dir();
    let said = refused(&[&arguments[..], &["--seeds", "1"]].concat());
    assert!(said.contains("--resume") && said.contains(run), "{said}");
    let room = arguments.iter().position(|&argument| argument == "--room").unwrap();
    let mut other = [&arguments[..], &["--seeds", "1", "--resume"]].concat();
    other[room + 1] = "900";
    let said = refused(&other);
    assert!(said.contains("other data"), "{said}");
    train(&folder, "parts", &[&few[..], &["--seeds", "1", "--resume"]].concat());
    assert!(bytes(&folder, "whole", run) == bytes(&folder, "parts", run), "it had ended: {done}");
    assert!(refused(&[&arguments[..], &["--seeds", "5,5"]].concat()).contains("two runs"));
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let folder = Folder::new("wrong");
    let nowhere = folder.path("nowhere");
    assert!(refused(&["sae", "show", &nowhere]).contains("nowhere"));
    assert!(refused(&["sae", "convert", &nowhere, &folder.path("to")]).contains("nowhere"));
    assert!(refused(&["sae", "train", "--variant", "other"]).contains("possible values"));
    let Some(text) = text() else { return };
    let out = folder.path("out");
    let with = |more: &[&str]| {
        refused(&[&["sae", "train", "--text", &text, "--out", &out, "--device", "cpu"][..], more].concat())
    };
    assert!(with(&["--k", "5000"]).contains("5000 is more than the 4608 latents"));
    assert!(with(&["--tokens", "0"]).contains("nothing to train"));
    assert!(with(&["--layer", "30", "--tokens", "300", "--batch", "64"]).contains("30 was asked for"));
    assert!(with(&["--weight", "3"]).contains("topk has no penalty"));
    assert!(with(&["--rate", "nan"]).contains("rate"));
    assert!(with(&["--exclude-first", "128"]).contains("the first 128 tokens of contexts of 128, expected fewer"));
    assert!(with(&["--exclude-ids", "3,49152"]).contains("49152 is no token, expected numbers below 49152"));
    assert!(with(&["--exclude-longer", "5"]).contains("--activations"));
    let kept = folder.path("kept");
    assert!(with(&["--exclude-longer", "1", "--activations", &kept]).contains("expected a finite number above 1"));
    let said = with(&["--site", "blocks.*.hook_resid_post", "--site", "blocks.30.*"]);
    assert!(said.contains("--site: blocks.30.* names no place") && said.contains("hook_mlp_out"), "{said}");
    assert!(with(&["--site", "*.3.*", "--layers-every", "2"]).contains("no place that is named"));
    assert!(with(&["--site", "*.3.*", "--layer", "3"]).contains("cannot be used with"));
    assert!(with(&["--layers-every", "0"]).contains("--layers-every"));
    assert!(with(&["--variant", "relu", "--format", "sparsify"]).contains("topk and groupmax only"));
    let config = folder.path("bad.json");
    fs::write(&config, r#"{"variant": "topk", "prefixes": [64, 32, 4608]}"#).unwrap();
    let said = with(&["--config", &config]);
    assert!(said.contains("bad.json") && said.contains("prefixes"), "{said}");
    let claim = latens::io::Claim::of(Path::new(&out)).unwrap();
    let said = with(&["--tokens", "300", "--batch", "64"]);
    assert!(said.contains("another run writes"), "{said}");
    drop(claim);
}
