//! The latent cache: of a real model, against dense latents, read by plain numpy, and every way in which it can lie.
use latens::assets::{SMOLLM2, SPEECHES};
use latens::io::Claim;
use latens::lm::{LanguageModel, Site};
use latens::sae::{Cache, Caching, Contexts, Fired, Gate, Sae};
use latens::{Device, Philox, Tensor};
use latens_tests::files::{f32s, folder};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Low in the model, for the time that it takes.
const SITE: Site = Site { layer: 1, point: latens::lm::Point::Residual };
const LATENTS: usize = 50;
const K: usize = 6;

/// The model, some of a speech, and an autoencoder of random directions around the mean of its activations there.
struct Real {
    lm: LanguageModel,
    contexts: Contexts,
    sae: Sae,
    /// `[rows, d]`.
    rows: Vec<f32>,
}

fn real() -> Option<&'static Real> {
    static REAL: OnceLock<Option<Real>> = OnceLock::new();
    let made = REAL.get_or_init(|| {
        let (model, speeches) = (SMOLLM2.for_test()?, SPEECHES.for_test()?);
        let lm = LanguageModel::open(&model, &Device::Host).unwrap();
        let text = fs::read_to_string(speeches.join("1981-Carter-1.txt")).unwrap();
        let ids = lm.tokenizer.encode(&text[..8000]).unwrap();
        // More than are in memory at once; the last is not whole, and is not read.
        let contexts = Contexts { ids: ids[..19 * 24 + 5].to_vec(), length: 24 };
        let d = lm.model.config().dim;
        let mut rows = Tensor::zeros([contexts.rows(), d], &Device::Host).unwrap();
        contexts.activations(&lm.model, SITE, 0, &mut rows, |_| ()).unwrap();
        let rows = rows.to_vec().unwrap();
        let mut mean = vec![0.0; d];
        rows.chunks(d).for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x));
        mean.iter_mut().for_each(|mean| *mean /= contexts.rows() as f32);
        let mut draw = Philox::new(3);
        let decoder = (0..LATENTS * d).map(|_| draw.uniform() - 0.5).collect();
        let sae = Sae::tied(decoder, mean, Gate::Strongest(K), &Device::Host).unwrap();
        Some(Real { lm, contexts, sae, rows })
    });
    made.as_ref()
}

fn write(real: &Real, to: &Path, caching: &Caching) -> latens::io::Result<Cache> {
    Cache::write(to, &real.lm.model, SITE, &real.sae, &real.contexts, caching, |_| ())
}

/// All latents of all tokens, `[contexts, length, latents]`, from the code of all rows at once.
fn dense(real: &Real) -> Vec<f32> {
    let d = real.sae.d();
    let x = Tensor::from_vec(real.rows.clone(), [real.rows.len() / d, d], &Device::Host).unwrap();
    let code = real.sae.encode(x.view()).unwrap();
    let (values, latents) = (code.values.to_vec().unwrap(), code.latents.to_vec().unwrap());
    let mut dense = vec![0.0; real.contexts.len() * real.contexts.length * LATENTS];
    for (slot, (value, latent)) in values.into_iter().zip(latents).enumerate().filter(|(_, (value, _))| *value > 0.0) {
        let (context, position) = real.contexts.token(slot / K);
        dense[(context * real.contexts.length + position) * LATENTS + latent as usize] = value;
    }
    dense
}

/// What a cache says of all tokens.
fn cached(cache: &Cache) -> Vec<f32> {
    let [contexts, length] = cache.contexts();
    let mut dense = vec![0.0; contexts * length * cache.latents()];
    for (at, range) in cache.ranges().enumerate() {
        let cached = cache.range(at).unwrap();
        let mut count = 0;
        for latent in range {
            let all: Vec<Fired> = cached.of(latent).collect();
            assert!(all.is_sorted_by_key(|fired| (fired.context, fired.position)));
            count += all.len();
            for Fired { context, position, value } in all {
                dense[(context as usize * length + position as usize) * cache.latents() + latent] = value;
            }
        }
        assert_eq!(count, cached.len());
        assert_eq!(cached.of(cached.range().end() + 1).count(), 0);
    }
    dense
}

fn numpy(to: &Path, dense: &[f32], real: &Real) {
    let dims = [real.contexts.len(), real.contexts.length];
    let (bytes, whole) = (f32s(dense), &real.contexts.ids[..dims[0] * dims[1]]);
    let tokens: Vec<u8> = whole.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
    let views = [
        ("dense", TensorView::new(Dtype::F32, vec![dims[0], dims[1], LATENTS], &bytes).unwrap()),
        ("tokens", TensorView::new(Dtype::I64, dims.to_vec(), &tokens).unwrap()),
    ];
    let expected = to.with_extension("expected");
    fs::write(&expected, safetensors::serialize(views, None).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/sae_cache.py");
    let run = Command::new("python3").arg(script).arg(to).arg(&expected).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    fs::remove_file(expected).unwrap();
    if run.status.code() == Some(3) && std::env::var_os("LATENS_REQUIRE_NUMPY").is_none() {
        println!("skipped: {said}");
        return;
    }
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    println!("{said}");
}

#[test]
fn a_cache_is_what_fires() {
    let Some(real) = real() else { return };
    let (to, d) = (folder(env!("CARGO_TARGET_TMPDIR"), "sae-cache"), real.sae.d());
    let caching = Caching { ranges: 3, model: "SmolLM2".into(), ..Caching::default() };
    let mut told = 0;
    let tell = |rows: usize| told += rows;
    let cache = Cache::write(&to, &real.lm.model, SITE, &real.sae, &real.contexts, &caching, tell).unwrap();
    assert_eq!((told, cache.latents(), cache.contexts()), (real.contexts.rows(), LATENTS, [19, 24]));
    assert_eq!(cache.ranges().collect::<Vec<_>>(), [0..=15, 16..=32, 33..=49]);
    assert_eq!(cache.tokens().unwrap().ids, real.contexts.ids[..19 * 24]);
    let whole = cached(&cache);
    assert!(whole == dense(real));

    // By hand: of every token but the first two, the largest of max(W (x - mean), 0).
    let (w, mean) = (real.sae.w_enc.to_vec().unwrap(), real.sae.b_dec.to_vec().unwrap());
    for (token, got) in whole.chunks(LATENTS).enumerate() {
        let (context, position) = (token / 24, token % 24);
        if position < Contexts::SKIPPED {
            assert!(got.iter().all(|&value| value == 0.0));
            continue;
        }
        let x = &real.rows[(context * 22 + position - 2) * d..][..d];
        let dot =
            |w: &[f32]| w.iter().zip(x.iter().zip(&mean)).map(|(w, (x, m))| f64::from(*w) * f64::from(x - m)).sum();
        let all: Vec<f64> = w.chunks(d).map(dot).map(|z: f64| z.max(0.0)).collect();
        let top = all.iter().copied().fold(0.0, f64::max);
        let least = got.iter().filter(|&&value| value > 0.0).fold(f32::MAX, |least, &value| least.min(value));
        for (&got, &want) in got.iter().zip(&all) {
            let right = if got > 0.0 { (f64::from(got) - want).abs() } else { want - f64::from(least) };
            assert!(right <= 1e-4 * top, "token {token}: {got} {want}, least {least}");
        }
        assert_eq!(got.iter().filter(|&&value| value > 0.0).count(), K);
    }
    let one = cache.firings(20).unwrap();
    assert!(!one.is_empty() && one.iter().all(|fired| fired.value > 0.0));
    numpy(&to, &whole, real);
    fs::remove_dir_all(to).unwrap();
}

/// In f16, over another of other ranges, of which nothing is left; nothing is left over by what is refused either.
#[test]
fn a_cache_is_replaced() {
    let Some(real) = real() else { return };
    let to = folder(env!("CARGO_TARGET_TMPDIR"), "sae-cache-again");
    let names = || {
        let mut all: Vec<String> =
            fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    };
    write(real, &to, &Caching::default()).unwrap();
    assert_eq!(names().len(), 10, "{:?}", names());
    let cache = write(real, &to, &Caching { ranges: 2, half: true, ..Caching::default() }).unwrap();
    let want = ["0_24.safetensors", "25_49.safetensors", "config.json"];
    assert_eq!(names(), [&[".latens.lock"][..], &want].concat());
    let (whole, dense) = (cached(&cache), dense(real));
    for (got, want) in whole.iter().zip(&dense) {
        assert_eq!(got.to_bits(), half::f16::from_f32(*want).to_f32().to_bits());
    }
    numpy(&to, &dense, real);

    let refused = |caching: &Caching| write(real, &to, caching).err().unwrap().to_string();
    for ranges in [0, LATENTS + 1] {
        let said = refused(&Caching { ranges, ..Caching::default() });
        assert!(said.starts_with("ranges: ") && said.contains("50 latents"), "{said}");
    }
    let claim = Claim::of(&to).unwrap();
    assert!(refused(&Caching::default()).contains("another run writes"));
    drop(claim);
    fs::write(to.join("sae_weights.safetensors"), "").unwrap();
    assert!(refused(&Caching::default()).contains("sae_weights.safetensors"));
    fs::remove_file(to.join("sae_weights.safetensors")).unwrap();
    for contexts in [Contexts::default(), Contexts { ids: vec![1; 8], length: 2 }] {
        let caching = Caching::default();
        let said = Cache::write(&to, &real.lm.model, SITE, &real.sae, &contexts, &caching, |_| ()).err().unwrap();
        assert!(said.to_string().starts_with("contexts: "), "{said}");
    }
    assert_eq!(names(), [&[".latens.lock"][..], &want].concat());
    assert!(cached(&Cache::open(&to).unwrap()) == whole);
    fs::remove_dir_all(to).unwrap();
}

/// A tensor: its type, sizes and bytes.
type Part = (Dtype, Vec<usize>, Vec<u8>);

/// A cache of five latents in two files, which is spoilt before it is written.
struct Made {
    config: Value,
    files: Vec<(String, Vec<(&'static str, Part)>)>,
}

fn u16s(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn made() -> Made {
    let tokens = || (Dtype::I64, vec![2, 3], (0..6).flat_map(i64::to_le_bytes).collect());
    let file = |name: &str, places: &[u16]| {
        let count = places.len() / 3;
        let parts = vec![
            ("locations", (Dtype::U16, vec![count, 3], u16s(places))),
            ("activations", (Dtype::F32, vec![count], f32s(&vec![0.5; count]))),
            ("tokens", tokens()),
        ];
        (name.to_owned(), parts)
    };
    let files =
        vec![file("0_1.safetensors", &[0, 0, 1, 0, 2, 0, 1, 1, 0]), file("2_4.safetensors", &[0, 1, 2, 1, 2, 2])];
    Made { config: json!({"ctx_len": 3}), files }
}

impl Made {
    fn part(&mut self, file: usize, name: &str) -> &mut Part {
        &mut self.files[file].1.iter_mut().find(|(part, _)| *part == name).unwrap().1
    }

    /// Open it, and read all that is there.
    fn read(&self) -> Result<Vec<Vec<Fired>>, String> {
        static TURN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let turn = TURN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let at: PathBuf = folder(env!("CARGO_TARGET_TMPDIR"), &format!("sae-cache-made-{turn}"));
        fs::write(at.join("config.json"), self.config.to_string()).unwrap();
        for (name, parts) in &self.files {
            let views = parts
                .iter()
                .map(|(part, (dtype, dims, bytes))| (*part, TensorView::new(*dtype, dims.clone(), bytes).unwrap()));
            fs::write(at.join(name), safetensors::serialize(views, None).unwrap()).unwrap();
        }
        let read = || -> latens::io::Result<Vec<Vec<Fired>>> {
            let cache = Cache::open(&at)?;
            cache.tokens()?;
            (0..cache.latents()).map(|latent| cache.firings(latent)).collect()
        };
        let done = read().map_err(|error| error.to_string());
        fs::remove_dir_all(at).unwrap();
        done
    }
}

/// As delphi writes it: nothing of this library in `config.json`.
#[test]
fn caches_of_others_are_read() {
    let fired = |context, position| Fired { context, position, value: 0.5 };
    let want = [vec![fired(0, 2), fired(1, 1)], vec![fired(0, 0)], vec![], vec![], vec![fired(0, 1), fired(1, 2)]];
    assert_eq!(made().read().unwrap(), want);
    let mut wide = made();
    let places: Vec<u8> = [1_u32, 2, 2, 0, 1, 2].iter().flat_map(|number| number.to_le_bytes()).collect();
    *wide.part(1, "locations") = (Dtype::U32, vec![2, 3], places);
    *wide.part(1, "activations") = (Dtype::F16, vec![2], u16s(&[0x3800; 2]));
    assert_eq!(wide.read().unwrap(), want);
}

#[test]
fn lies_are_named() {
    type Spoil = fn(&mut Made);
    let cases: [(Spoil, &[&str]); 22] = [
        (|made| made.config = json!([1, 2]), &["config.json", "no object"]),
        (|made| made.config = json!({"ctx_len": 4}), &["config.json", "ctx_len 4", "3"]),
        (|made| made.config = json!({"latens": {"latents": 6}}), &["config.json", "latents 6", "5"]),
        (|made| made.config = json!({"latens": {"version": 2}}), &["config.json", "version 2"]),
        (|made| made.config = json!({"latens": {"save": "abc"}}), &["0_1.safetensors", "another cache"]),
        (|made| made.files.clear(), &["START_END"]),
        (|made| made.files[0].0 = "0_2.safetensors".into(), &["2_4.safetensors", "latents 2 to 2", "another file"]),
        (|made| made.files[0].0 = "0_0.safetensors".into(), &["latents 1 to 1 are in no file"]),
        (|made| drop(made.files.remove(0)), &["latents 0 to 1 are in no file"]),
        (|made| made.files[0].0 = "00_1.safetensors".into(), &["00_1.safetensors", "range"]),
        (|made| made.files[1].0 = "4_2.safetensors".into(), &["4_2.safetensors", "range"]),
        (
            |made| made.part(1, "locations").2 = u16s(&[0, 1, 3, 1, 2, 2]),
            &["2_4.safetensors", "locations", "[0, 1, 3]"],
        ),
        (|made| made.part(0, "locations").2 = u16s(&[0, 0, 1, 0, 3, 0, 1, 1, 0]), &["0_1.safetensors", "locations"]),
        (|made| made.part(0, "locations").2 = u16s(&[0, 0, 1, 2, 2, 0, 1, 1, 0]), &["0_1.safetensors", "[2, 2, 0]"]),
        (|made| made.part(1, "locations").2 = u16s(&[0, 1, 2, 0, 1, 2]), &["2_4.safetensors", "[0, 1, 2] twice"]),
        (|made| made.part(1, "locations").0 = Dtype::I16, &["2_4.safetensors", "locations", "I16"]),
        (|made| made.part(1, "locations").1 = vec![3, 2], &["2_4.safetensors", "locations", "[3, 2]"]),
        (|made| made.part(1, "activations").0 = Dtype::I32, &["2_4.safetensors", "activations", "I32"]),
        (|made| made.part(1, "activations").2 = f32s(&[0.5, f32::NAN]), &["2_4.safetensors", "activations", "NaN"]),
        (|made| made.part(1, "tokens").1 = vec![3, 2], &["2_4.safetensors", "tokens", "[3, 2]"]),
        (|made| made.part(0, "tokens").2[7] = 0x80, &["0_1.safetensors", "tokens", "expected 0"]),
        (|made| drop(made.files[1].1.remove(1)), &["2_4.safetensors", "no tensor activations"]),
    ];
    for (at, (spoil, named)) in cases.into_iter().enumerate() {
        let mut made = made();
        spoil(&mut made);
        let said = made.read().unwrap_err();
        assert!(named.iter().all(|part| said.contains(part)), "{at}: {said}");
    }
}
