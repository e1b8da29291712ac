//! Checkpoints of other libraries: written by Python as these write them, read here, and encoded to what they would make of some rows.
use latens::lm::{Point, Site};
use latens::sae::eval::Core;
use latens::sae::{Format, Origin, Own, Rows, Sae, quality};
use latens::{Device, Tensor};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder that Python has filled, and the names in it; `None` where there is no numpy.
pub fn written() -> Option<&'static (PathBuf, Vec<String>)> {
    static WRITTEN: OnceLock<Option<(PathBuf, Vec<String>)>> = OnceLock::new();
    let made = WRITTEN.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("latens-formats-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/sae_formats.py");
        let run = Command::new("python3").arg(script).arg(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        if run.status.code() == Some(3) && std::env::var_os("LATENS_REQUIRE_NUMPY").is_none() {
            println!("skipped: {said}");
            return None;
        }
        assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
        Some((folder, said.lines().map(str::to_owned).collect()))
    });
    made.as_ref()
}

/// A copy of one layout, which may be spoilt.
pub fn copy(name: &str, to: &str) -> PathBuf {
    let (from, to) =
        (written().unwrap().0.join(name), std::env::temp_dir().join(format!("latens-{to}-{}", std::process::id())));
    let _ = fs::remove_dir_all(&to);
    let _ = fs::remove_file(&to);
    if from.is_file() {
        fs::copy(from, &to).unwrap();
        return to;
    }
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    to
}

struct Expected {
    x: Tensor<f32, 2>,
    features: Vec<f32>,
    recon: Vec<f32>,
}

fn expected(name: &str) -> Expected {
    let path = written().unwrap().0.join(format!("{name}.expected.safetensors"));
    let file = latens::io::safetensors::Safetensors::open(&path).unwrap();
    let read = |of: &str| (file.tensors()[of].dims.clone(), file.read(of, &file.tensors()[of].dims).unwrap());
    let ((dims, x), (_, features), (_, recon)) = (read("x"), read("features"), read("recon"));
    Expected { x: Tensor::from_vec(x, [dims[0], dims[1]], &Device::Host).unwrap(), features, recon }
}

fn near(what: &str, got: &[f32], want: &[f32]) {
    let top = want.iter().fold(0.0_f32, |top, x| top.max(x.abs()));
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 2e-5 * top, "{what} at {i}: {got} {want}");
    }
}

/// Features of all latents, and reconstructed rows.
fn run(sae: &Sae, x: &Tensor<f32, 2>) -> (Vec<f32>, Vec<f32>) {
    let (code, [rows, _], n) = (sae.encode(x.view()).unwrap(), x.dims(), sae.latents());
    let (values, latents) = (code.values.to_vec().unwrap(), code.latents.to_vec().unwrap());
    let mut dense = vec![0.0; rows * n];
    let width = values.len() / rows;
    for (slot, (&value, &latent)) in values.iter().zip(&latents).enumerate() {
        if (latent as usize) < n {
            dense[slot / width * n + latent as usize] = value;
        }
    }
    (dense, sae.reconstruct(x.view()).unwrap().to_vec().unwrap())
}

#[test]
fn every_layout_is_read() {
    let Some((folder, names)) = written() else { return };
    assert!(names.len() >= 35);
    for name in names {
        let sae = Sae::load(&folder.join(name), &Device::Host).unwrap_or_else(|error| panic!("{name}: {error}"));
        let want = expected(name);
        let (features, recon) = run(&sae, &want.x);
        near(&format!("{name} features"), &features, &want.features);
        near(&format!("{name} recon"), &recon, &want.recon);
        let active = want.features.iter().filter(|&&f| f > 0.0).count();
        assert!(active > 0 && active < want.features.len(), "{name}: {active} active");
        let judged = Core::measure_to(&sae, want.x.view(), want.x.view(), |_| {}).unwrap();
        assert!((judged.l0 - active as f64 / want.x.dims()[0] as f64).abs() < 1e-9, "{name}: {}", judged.l0);
        assert_eq!(sae.predicts, name.contains("transcoder") || name == "sparsify_skip", "{name}");
        assert_eq!(quality(&sae, want.x.view()).is_err(), sae.predicts, "{name}");
        println!("{name}: {active} active, as there");
    }
}

/// Whatever was read is written as SAELens writes it, and is the same then.
#[test]
fn all_are_written_again() {
    let Some((folder, names)) = written() else { return };
    let to = std::env::temp_dir().join(format!("latens-again-{}", std::process::id()));
    for name in names {
        let sae = Sae::load(&folder.join(name), &Device::Host).unwrap();
        let _ = fs::remove_dir_all(&to);
        let format = if name.starts_with("sparsify") { Format::Sparsify } else { Format::SaeLens };
        sae.save(&to, format, &Default::default()).unwrap();
        let again = Sae::load(&to, &Device::Host).unwrap();
        let x = expected(name).x;
        assert!(run(&again, &x) == run(&sae, &x), "{name}");
        assert!((again.gate, again.centred, again.rows) == (sae.gate, sae.centred, sae.rows), "{name}");
        assert_eq!(again.predicts, sae.predicts, "{name}");
        let kept = |sae: &Sae| match &sae.own {
            None => vec![],
            Some(Own::Thresholds(one)) => one.to_vec().unwrap(),
            Some(Own::Magnitudes { r_mag, b_mag }) => [r_mag.to_vec().unwrap(), b_mag.to_vec().unwrap()].concat(),
        };
        assert!(kept(&again) == kept(&sae), "{name}");
        let plain = sae.own.is_none() && sae.rows == Rows::AsTheyAre;
        let strongest = !matches!(sae.gate, latens::sae::Gate::Above { .. });
        let _ = fs::remove_dir_all(&to);
        assert_eq!(sae.save(&to, Format::Sparsify, &Default::default()).is_ok(), plain && strongest, "{name}");
    }
    let _ = fs::remove_dir_all(&to);
}

/// A checkpoint that says where it belongs is taken there only; of others it is not known.
#[test]
fn places_are_held_to() {
    let Some((folder, _)) = written() else { return };
    let to = std::env::temp_dir().join(format!("latens-places-{}", std::process::id()));
    let sae = Sae::load(&folder.join("saelens_topk"), &Device::Host).unwrap();
    let taken = |site| Sae::load_at(&to, site, &Device::Host);
    let fits = |site| taken(site).is_ok();
    let residuals = [0, 1, 2].map(Site::residual);
    for (hook, fitting) in [
        ("blocks.1.hook_resid_post", [false, true, false]),
        ("blocks.2.hook_resid_pre", [false, true, false]),
        ("blocks.1.hook_mlp_out", [false; 3]),
        ("model.layers.1", [true; 3]),
        ("", [true; 3]),
    ] {
        for format in [Format::SaeLens, Format::Sparsify] {
            let _ = fs::remove_dir_all(&to);
            sae.save(&to, format, &Origin { hook: hook.into(), ..Origin::default() }).unwrap();
            assert_eq!(residuals.map(fits), fitting, "{hook}");
            assert_eq!(fits(Site::mlp(1)), hook.contains("mlp") || fitting == [true; 3], "{hook}");
        }
    }
    // Llama Scope says it in its settings, of both places where there are two.
    for (name, hook, predicted, fitting) in [
        ("llama_scope", "blocks.1.hook_resid_post", "", [true, false, false]),
        ("llama_scope_transcoder", "blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out", [false, false, true]),
        ("llama_scope_unplaced", "", "", [true; 3]),
    ] {
        let origin = Origin::of(&folder.join(name)).unwrap();
        assert_eq!((&origin.hook[..], &origin.predicted[..]), (hook, predicted), "{name}");
        let mlp = Site { layer: 1, point: Point::MlpInput };
        let at = [Site::residual(1), Site::residual(2), mlp];
        assert_eq!(at.map(|site| Sae::load_at(&folder.join(name), site, &Device::Host).is_ok()), fitting, "{name}");
    }
    // One layout does not hide another.
    let said = sae.save(&to, Format::SaeLens, &Origin::default()).unwrap_err().to_string();
    assert!(said.contains("holds sae.safetensors, a checkpoint in another layout"), "{said}");
    assert!(Sae::load(&to, &Device::Host).is_ok());
    let _ = fs::remove_dir_all(&to);
    sae.save(&to, Format::SaeLens, &Origin { hook: "blocks.1.hook_mlp_out".into(), ..Origin::default() }).unwrap();
    let said = taken(Site::residual(7)).err().unwrap().to_string();
    assert!(said.contains("was trained at blocks.1.hook_mlp_out, not at blocks.7.hook_resid_post"), "{said}");
    let _ = fs::remove_dir_all(&to);
}

/// Weights that are no numbers are not taken.
#[test]
fn not_a_number_is_named() {
    let Some((folder, _)) = written() else { return };
    let to = std::env::temp_dir().join(format!("latens-nan-{}", std::process::id()));
    fn spoil<const R: usize>(of: &mut Tensor<f32, R>) {
        let all = of.to_vec().unwrap();
        *of = Tensor::from_vec([&[f32::NAN][..], &all[1..]].concat(), of.dims(), &Device::Host).unwrap();
    }
    let spoils: [fn(&mut Sae); 4] = [
        |sae| spoil(&mut sae.w_enc),
        |sae| spoil(&mut sae.w_dec),
        |sae| spoil(&mut sae.b_enc),
        |sae| spoil(&mut sae.b_dec),
    ];
    for (part, spoil) in ["the encoder", "the decoder", "b_enc", "b_dec"].into_iter().zip(spoils) {
        let mut sae = Sae::load(&folder.join("saelens_topk"), &Device::Host).unwrap();
        spoil(&mut sae);
        sae.save(&to, Format::SaeLens, &Origin::default()).unwrap();
        assert!(refusal(&to).contains(&format!("{part} holds NaN")), "{part}: {}", refusal(&to));
    }
    let _ = fs::remove_dir_all(&to);
}

pub fn refusal(path: &Path) -> String {
    match Sae::load(path, &Device::Host) {
        Ok(_) => panic!("{} was taken", path.display()),
        Err(error) => error.to_string(),
    }
}

/// Settings and tensors that disagree, or ask for what cannot be had.
#[test]
fn contradictions_are_named() {
    if written().is_none() {
        return;
    }
    for (name, file, from, to, named) in [
        ("saelens_topk", "cfg.json", "\"k\": 6", "\"k\": 60", "k is 60"),
        ("saelens_before_6", "cfg.json", "\"k\": 6", "\"k\": 0", "k is 0"),
        ("saelens_standard", "cfg.json", "\"standard\"", "\"other\"", "architecture"),
        ("saelens_standard", "cfg.json", "\"none\"", "\"expected_average_only_in\"", "normalize_activations"),
        ("saelens_standard", "cfg.json", "\"none\"", "true", "factor of that run"),
        ("saelens_finetuned", "cfg.json", "true", "false", "scaling_factor"),
        ("saelens_jumprelu", "cfg.json", "\"jumprelu\"", "\"standard\"", "threshold is unknown"),
        ("saelens_gated", "cfg.json", "\"gated\"", "\"topk\"", "k is null"),
        ("sparsify", "cfg.json", "\"transcode\": false", "\"signed\": true", "signed"),
        ("sparsify", "cfg.json", "\"skip_connection\": false", "\"skip_connection\": true", "W_skip"),
        ("sparsify_groupmax", "cfg.json", "\"k\": ", "\"k\": 1", "do not divide"),
        ("saelens_transcoder", "cfg.json", "\"d_out\": ", "\"d_out\": 1", "d_out"),
        ("sparsify", "cfg.json", "\"topk\"", "\"groupmax\"", "6 groups do not divide"),
        ("llama_scope_unplaced", "hyperparams.json", "\"d_sae\": 40", "\"d_sae\": 41", "d_sae is 41"),
        ("llama_scope_unplaced", "hyperparams.json", "\"dataset-wise\"", "\"token-wise\"", "norm_activation"),
        ("llama_scope_unplaced", "hyperparams.json", "\"jumprelu\"", "\"gelu\"", "act_fn"),
        ("llama_scope_unplaced", "hyperparams.json", "10.8", "0.0", "in"),
        ("dictionary_AutoEncoder", "config.json", "\"AutoEncoder\"", "\"Other\"", "dict_class"),
        ("dictionary_AutoEncoder", "config.json", "\"AutoEncoder\"", "\"AutoEncoderTopK\"", "b_dec"),
        ("dictionary_AutoEncoderTopK", "config.json", "\"AutoEncoderTopK\"", "\"AutoEncoderNew\"", "decoder.bias"),
    ] {
        let at = copy(name, "contradiction");
        let text = fs::read_to_string(at.join(file)).unwrap();
        assert!(text.contains(from), "{name}: {text}");
        fs::write(at.join(file), text.replace(from, to)).unwrap();
        let said = refusal(&at);
        assert!(said.contains(named), "{name}: {said}");
        fs::remove_dir_all(at).unwrap();
    }
    let nowhere = std::env::temp_dir().join("latens-nowhere");
    assert!(refusal(&nowhere).contains("cfg.json"));
}
