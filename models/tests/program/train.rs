//! Training.
use super::*;

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

/// A crosscoder of two layers: from the disk and on the fly the same bytes, and judged at each of its places.
#[test]
fn a_crosscoder_reads_all_places() {
    let Some(text) = text() else { return };
    let folder = Folder::new("cross");
    let kept = folder.path("kept");
    let two = ["--steps", "40", "--rate", "0.01", "--layer", "2,0", "--crosscoder", "--k", "8"];
    let said = train(&folder, "disk", &[&two[..], &["--activations", &kept]].concat());
    assert_eq!(said.lines().count(), 1, "{said}");
    train(&folder, "fly", &two);
    let run = "blocks.2.hook_resid_post+1-topk-0";
    assert!(bytes(&folder, "disk", run) == bytes(&folder, "fly", run));
    let sae = Path::new(&folder.path("disk")).join(run).join("sae");
    let (sae, figures) = (sae.to_str().unwrap().to_owned(), folder.path("eval.json"));
    let small = ["--text", &text, "--context", "32", "--contexts", "4", "--spliced", "2", "--device", "cpu"];
    fine(&[&["sae", "eval", &sae, "--json", &figures][..], &small].concat());
    let figures: Value = serde_json::from_str(&fs::read_to_string(figures).unwrap()).unwrap();
    let places = figures["places"].as_array().unwrap();
    assert!(figures["fvu"].as_f64().unwrap() < 0.9 && places.len() == 2, "{figures}");
    for (of, name) in places.iter().zip(["blocks.2.hook_resid_post", "blocks.0.hook_resid_post"]) {
        let ce = |which: &str| of["downstream"][which].as_f64().unwrap();
        assert!(of["place"] == name && ce("ce_clean") < ce("ce_sae") && ce("ce_sae") < ce("ce_zero"), "{figures}");
    }
    let config = folder.path("three.json");
    fs::write(&config, r#"{"sides": 3}"#).unwrap();
    let out = folder.path("no");
    let with = |more: &[&str]| refused(&[&["sae", "train", "--text", &text, "--out", &out][..], &SMALL, more].concat());
    assert!(with(&["--layer", "0,2", "--config", &config]).contains("3 sides, but --layer or --site name 2 places"));
    assert!(with(&["--layer", "2,2", "--crosscoder"]).contains("2 is there twice"));
}

/// Steps through the model train on: it loses less by what comes out than before them, which is not what as many plain steps give. So small a
/// training does not tell which of the two is better.
#[test]
fn the_last_steps_go_through_the_model() {
    let Some(text) = text() else { return };
    let folder = Folder::new("through");
    let small = |out: &str, batch: &str, more: &[&str]| -> Vec<String> {
        let out = folder.path(out);
        let usual = ["sae", "train", "--out", &out, "--text", &text, "--context", "32", "--tokens", "300", "--latents"];
        let rest = ["96", "--device", "cpu", "--layer", "15", "--k", "8", "--rate", "0.01"];
        let batch = ["--batch", batch];
        let all = usual.iter().chain(&rest).chain(&batch).chain(more);
        all.map(|one| (*one).to_owned()).collect()
    };
    for (out, more) in [
        ("short", ["--steps", "30", "--through", "0"]),
        ("long", ["--steps", "42", "--through", "0"]),
        ("through", ["--steps", "30", "--through", "12"]),
    ] {
        fine(&small(out, "60", &more).iter().map(String::as_str).collect::<Vec<_>>());
    }
    let lost = |out: &str| {
        let sae = Path::new(&folder.path(out)).join("blocks.15.hook_resid_post-topk-0/sae");
        let judged = ["--text", &text, "--context", "32", "--contexts", "4", "--spliced", "4", "--device", "cpu"];
        let said = fine(&[&["sae", "eval", sae.to_str().unwrap()][..], &judged].concat());
        serde_json::from_str::<Value>(&said).unwrap()["downstream"]["ce_sae"].as_f64().unwrap()
    };
    let [short, through] = ["short", "through"].map(lost);
    assert!(through < short, "{through} with, {short} without");
    let run = "blocks.15.hook_resid_post-topk-0";
    assert!(bytes(&folder, "through", run) != bytes(&folder, "long", run), "the last steps were plain ones");
    let no = |batch: &str, more: &[&str]| {
        let all = small("no", batch, &[&["--through", "2"], more].concat());
        refused(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(no("64", &[]).contains("whole contexts, 30 rows each"));
    // Nothing is marked where it is interrupted here: the first step after it is the one that would have followed.
    let killed = ["--steps", "30", "--through", "12", "--tell-every", "50", "--save-every", "37"];
    let all = small("killed", "60", &killed);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    interrupt(&all, &Path::new(&folder.path("killed")).join(run));
    fine(&[&all[..], &["--resume"]].concat());
    assert!(bytes(&folder, "killed", run) == bytes(&folder, "through", run), "another run after an interruption");
    assert!(no("60", &["--point", "mlp"]).contains("one residual"));
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
    let first = said.lines().find(|line| line.contains("blocks.1.")).unwrap();
    let all = |what| ["sae", what, first, "--text", &text, "--contexts", "4", "--context", "32", "--device", "cpu"];
    let there = ["--layer", "1", "--point", "mlp-input"];
    assert!(refused(&all("eval")).contains("was trained at blocks.1.ln2.hook_normalized, not at blocks.15"));
    let page = folder.path("page.html");
    fine(&[&all("report")[..], &there, &["--out", &page]].concat());
    let page = fs::read_to_string(page).unwrap();
    let judged: Value = serde_json::from_str(&fine(&[&all("eval")[..], &there].concat())).unwrap();
    let of = |name: &str| judged["downstream"][name].as_f64().unwrap();
    assert!(judged["l0"] == 4.0 && of("ce_clean") < of("ce_sae"), "{judged}");
    // The page is of what is predicted, as the figures are.
    assert!(page.contains("A transcoder") && page.contains("blocks.1.hook_mlp_out") && !page.contains("PCA"));
    for name in ["ce_clean", "ce_sae", "ce_zero"] {
        assert!(page.contains(&format!("{:.4}", of(name))), "{name}: {judged}");
    }
    let fvu = judged["fvu"].as_f64().unwrap();
    assert!(page.contains(&format!("{fvu:.4}")), "{judged}");
    // Some of what the MLP adds is there, even after six steps: better than nothing of it.
    assert!(of("ce_sae") < of("ce_zero") && of("kl_sae") < of("kl_zero"), "{judged}");
    let out = folder.path("refused");
    let with = |more: &[&str]| {
        let usual = ["sae", "train", "--text", &text, "--out", &out, "--steps", "6", "--k", "4", "--config", &skip];
        refused(&[&usual[..], &SMALL, more].concat())
    };
    assert!(with(&["--format", "saelens"]).contains("SAELens' layout has transcoders by a rectifier"));
    assert!(with(&["--format", "sparsify", "--point", "mlp"]).contains("reads mlp-input and predicts mlp"));
}

/// Kill the program once a run has kept its first state, if it is not done by then.
fn interrupt(arguments: &[&str], run: &Path) {
    let mut first = Command::new(env!("CARGO_BIN_EXE_latens"));
    let mut first = first.args(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let state = run.join("state.safetensors");
    while !state.is_file() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    first.kill().unwrap();
    first.wait().unwrap();
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
    interrupt(&[&arguments[..], &["--seeds", "0,1"]].concat(), &Path::new(&out).join(run));
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
    // The settings of a run, given back, are that run, its seed too.
    let settings = Path::new(&folder.path("whole")).join(run).join("config.json");
    train(&folder, "again", &["--layer", "0", "--config", settings.to_str().unwrap()]);
    let again = "blocks.0.hook_resid_post-config-1";
    assert!(bytes(&folder, "whole", run) == bytes(&folder, "again", again), "another seed");
}
