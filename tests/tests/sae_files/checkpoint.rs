//! Checkpoints: written and read back, opened by plain numpy, and every way in which one can lie.
use latens::io::Error;
use latens::sae::{Format, Gate, Origin, Sae, quality};
use latens::{Device, Tensor};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const D: usize = 6;
const N: usize = 20;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("latens-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let mut all: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut draw = latens::Philox::new(seed);
    (0..count).map(|_| draw.uniform() * 2.0 - 1.0).collect()
}

fn sae(gate: Gate) -> Sae {
    let mut decoder = numbers(N * D, 1);
    for row in decoder.chunks_mut(D) {
        let length = row.iter().map(|w| w * w).sum::<f32>().sqrt();
        row.iter_mut().for_each(|w| *w /= length);
    }
    let mut sae = Sae::tied(decoder, numbers(D, 2), gate, &Device::Host).unwrap();
    sae.b_enc.write(&numbers(N, 3)).unwrap();
    sae.w_enc.write(&numbers(N * D, 4)).unwrap();
    sae
}

fn origin() -> Origin {
    Origin {
        predicted: String::new(),
        model: "SmolLM2-135M-Instruct".into(),
        hook: "blocks.15.hook_resid_post".into(),
        context: 128,
        begin: true,
    }
}

fn parts(sae: &Sae) -> [Vec<f32>; 4] {
    [&sae.w_enc, &sae.w_dec]
        .map(|w| w.to_vec().unwrap())
        .into_iter()
        .chain([&sae.b_enc, &sae.b_dec].map(|b| b.to_vec().unwrap()))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

#[test]
fn what_is_written_is_read() {
    let folder = Folder::new("round");
    let cases = [
        (Gate::Strongest(5), Format::SaeLens, "sae_weights.safetensors"),
        (Gate::Above { threshold: 0.25, most: 9 }, Format::SaeLens, "sae_weights.safetensors"),
        (Gate::Strongest(5), Format::Sparsify, "sae.safetensors"),
    ];
    for (at, (gate, format, file)) in cases.into_iter().enumerate() {
        let (path, ours) = (folder.0.join(at.to_string()), sae(gate));
        ours.save(&path, format, &origin()).unwrap();
        let back = Sae::load(&path, &Device::Host).unwrap();
        assert_eq!(back.gate, gate);
        assert_eq!(parts(&back), parts(&ours));
        let before = fs::read(path.join(file)).unwrap();
        ours.save(&path, format, &origin()).unwrap();
        assert_eq!(fs::read(path.join(file)).unwrap(), before, "the same bytes again");
    }
    let refused = sae(Gate::Above { threshold: 0.25, most: 9 }).save(&folder.0, Format::Sparsify, &origin());
    assert!(matches!(refused, Err(Error::Setting { name: "format", .. })));
}

/// numpy, with SAELens' names, finds the same codes.
#[test]
fn numpy_agrees() {
    let folder = Folder::new("numpy");
    for gate in [Gate::Strongest(5), Gate::Above { threshold: 0.25, most: N }] {
        let ours = sae(gate);
        ours.save(&folder.0, Format::SaeLens, &origin()).unwrap();
        let x = Tensor::from_vec(numbers(30 * D, 5), [30, D], &Device::Host).unwrap();
        let code = ours.encode(x.view()).unwrap();
        expect(&folder.0, &x, &code, &ours.decode(&code).unwrap());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/sae_checkpoint.py");
        let run = match Command::new("python3").arg(script).arg(&folder.0).output() {
            Ok(run) => run,
            Err(error) => return eprintln!("skipped: python3: {error}"),
        };
        let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        if run.status.code() == Some(3) && std::env::var_os("LATENS_REQUIRE_NUMPY").is_none() {
            return eprintln!("skipped: {said}");
        }
        assert!(run.status.success(), "{said}");
        println!("{said}");
    }
}

fn expect(folder: &Path, x: &Tensor<f32, 2>, code: &latens::Code<f32>, recon: &Tensor<f32, 2>) {
    use safetensors::{Dtype, tensor::TensorView};
    let bytes = |v: Vec<f32>| v.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let rows = x.dims()[0];
    let (values, latents) = (code.values.to_vec().unwrap(), code.latents.to_vec().unwrap());
    let width = values.len() / rows;
    let all = [
        ("x", Dtype::F32, [rows, D], bytes(x.to_vec().unwrap())),
        ("values", Dtype::F32, [rows, width], bytes(values)),
        ("latents", Dtype::U32, [rows, width], latents.into_iter().flat_map(u32::to_le_bytes).collect()),
        ("recon", Dtype::F32, [rows, D], bytes(recon.to_vec().unwrap())),
    ];
    let views = all.iter().map(|(n, t, dims, raw)| (*n, TensorView::new(*t, dims.to_vec(), raw).unwrap()));
    fs::write(folder.join("expected.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A file with these tensors, all of f32.
fn file(path: &Path, tensors: &[(&str, &[usize])]) {
    use safetensors::{Dtype, tensor::TensorView};
    let raw: Vec<Vec<u8>> = tensors.iter().map(|(_, dims)| vec![0; 4 * dims.iter().product::<usize>()]).collect();
    let views =
        tensors.iter().zip(&raw).map(|((n, d), raw)| (*n, TensorView::new(Dtype::F32, d.to_vec(), raw).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn refusal(folder: &Folder) -> String {
    match Sae::load(&folder.0, &Device::Host) {
        Ok(_) => panic!("was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn lies_are_named() {
    let folder = Folder::new("lies");
    assert!(refusal(&folder).contains("cfg.json"));
    sae(Gate::Strongest(5)).save(&folder.0, Format::SaeLens, &origin()).unwrap();
    let (config, weights) = (folder.0.join("cfg.json"), folder.0.join("sae_weights.safetensors"));
    let good: Vec<(&str, &[usize])> = vec![("W_enc", &[D, N]), ("W_dec", &[N, D]), ("b_enc", &[N]), ("b_dec", &[D])];

    file(&weights, &[&good[..], &[("W_skip", &[D, D])]].concat());
    let said = refusal(&folder);
    assert!(said.contains("W_skip") && said.contains("unknown"), "{said}");
    file(&weights, &good[1..]);
    assert!(refusal(&folder).contains("W_enc"));
    file(&weights, &[&[("W_enc", &[N, D][..])], &good[1..]].concat());
    let said = refusal(&folder);
    assert!(said.contains("W_enc") && said.contains("[20, 6]"), "{said}");

    file(&weights, &good);
    let whole = fs::read(&weights).unwrap();
    for cut in [0, 4, 8, 60, whole.len() - 1] {
        fs::write(&weights, &whole[..cut]).unwrap();
        assert!(refusal(&folder).contains("sae_weights.safetensors"), "{cut}");
    }
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    fs::write(&weights, huge).unwrap();
    assert!(refusal(&folder).contains("sae_weights.safetensors"));
    fs::write(&weights, &whole).unwrap();
    Sae::load(&folder.0, &Device::Host).unwrap();

    let text = fs::read_to_string(&config).unwrap();
    for (from, to, named) in [
        ("\"topk\"", "\"other\"", "architecture"),
        ("\"k\": 5", "\"k\": 50", "k is 50"),
        ("\"k\": 5", "\"k\": 0", "k is 0"),
        ("\"d_in\": 6", "\"d_in\": -6", "d_in"),
        ("\"d_in\": 6", "\"d_in\": 9223372036854775807", "W_enc"),
        ("\"none\"", "\"expected_average_only_in\"", "normalize_activations"),
        ("{", "[", "cfg.json"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&config, text.replace(from, to)).unwrap();
        let said = refusal(&folder);
        assert!(said.contains(named), "{said}");
    }
}

/// Files of two checkpoints, as a crash between the two renames leaves them, are told apart; weights that another
/// library has written anew are not.
#[test]
fn files_of_two_checkpoints_are_refused() {
    for (format, file) in [(Format::SaeLens, "sae_weights.safetensors"), (Format::Sparsify, "sae.safetensors")] {
        let (folder, other) = (Folder::new("pair"), Folder::new("pair-other"));
        let old = sae(Gate::Strongest(5));
        old.save(&folder.0, format, &origin()).unwrap();
        let mut new = sae(Gate::Strongest(5));
        new.b_enc.write(&numbers(N, 8)).unwrap();
        new.save(&other.0, format, &origin()).unwrap();
        fs::copy(other.0.join(file), folder.0.join(file)).unwrap();
        let said = refusal(&folder);
        assert!(said.contains(file) && said.contains("another checkpoint"), "{said}");
        // The second rename, too.
        fs::copy(other.0.join("cfg.json"), folder.0.join("cfg.json")).unwrap();
        assert_eq!(parts(&Sae::load(&folder.0, &Device::Host).unwrap()), parts(&new));
    }
    let folder = Folder::new("pair-foreign");
    sae(Gate::Strongest(5)).save(&folder.0, Format::SaeLens, &origin()).unwrap();
    let weights = folder.0.join("sae_weights.safetensors");
    file(&weights, &[("W_enc", &[D, N]), ("W_dec", &[N, D]), ("b_enc", &[N]), ("b_dec", &[D])]);
    Sae::load(&folder.0, &Device::Host).unwrap();
}

/// A threshold's room per row cuts, and says so: the true counts are those without a limit, as in SAELens.
#[test]
fn a_cap_is_reported() {
    let x = Tensor::from_vec(numbers(30 * D, 5), [30, D], &Device::Host).unwrap();
    let [free, capped] = [N, 2].map(|most| sae(Gate::Above { threshold: 0.25, most }));
    let active = |sae: &Sae| {
        let (code, counts) = sae.encode_counted(x.view(), &sae.bias().unwrap()).unwrap();
        let values = code.values.to_vec().unwrap();
        let rows = values.chunks(values.len() / 30);
        let kept: Vec<u32> = rows.map(|row| row.iter().filter(|&&v| v > 0.0).count() as u32).collect();
        (kept, counts.unwrap().to_vec().unwrap())
    };
    let ((all, counts), (kept, capped_counts)) = (active(&free), active(&capped));
    assert!(all == counts && counts == capped_counts);
    assert!(kept.iter().zip(&all).all(|(&kept, &all)| kept == all.min(2)));
    let cut = all.iter().filter(|&&all| all > 2).count();
    assert!(cut > 0 && cut < 30);
    let quality = |sae| quality(sae, x.view()).unwrap();
    assert_eq!((quality(&free).truncated, quality(&capped).truncated), (0.0, cut as f64 / 30.0));
    let strongest = sae(Gate::Strongest(2));
    assert!(strongest.encode_counted(x.view(), &strongest.bias().unwrap()).unwrap().1.is_none());
    assert_eq!(quality(&strongest).truncated, 0.0);
}

/// Where the disk is full, the old checkpoint stays, and nothing half written beside it. The limit on the size of a
/// file is what the system has that fails like a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_checkpoint() {
    const ROLE: &str = "LATENS_TEST_FULL_DISK";
    if let Some(path) = std::env::var_os(ROLE) {
        let error = sae(Gate::Strongest(7)).save(Path::new(&path), Format::SaeLens, &origin()).unwrap_err();
        return println!("refused: {error}");
    }
    let folder = Folder::new("full");
    sae(Gate::Strongest(5)).save(&folder.0, Format::SaeLens, &origin()).unwrap();
    let before = folder.names();
    // Files of at most one block; the signal that this sends is ignored, so that the write itself fails.
    let command = format!(
        "trap '' XFSZ; ulimit -f 1; exec '{}' --exact checkpoint::a_full_disk_leaves_the_old_checkpoint --nocapture",
        std::env::current_exe().unwrap().display()
    );
    let run = Command::new("sh").args(["-c", &command]).env(ROLE, &folder.0).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success() && said.contains("refused: cannot write"), "{said}{run:?}");
    assert_eq!(folder.names(), before);
    assert_eq!(Sae::load(&folder.0, &Device::Host).unwrap().gate, Gate::Strongest(5));
}
