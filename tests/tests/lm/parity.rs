//! What is saved means to others what it means here: numpy runs it from the files alone.
use crate::models::{configs, ids, model};
use latens::Device;
use latens::lm::Hooks;
use latens_tests::files::folder;
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::path::Path;
use std::process::Command;

/// Run `python/lm.py` on a saved model, whose logits for `ids` are these. `false` if there is no numpy and none is required.
pub fn agrees(folder: &Path, ids: &[u32], logits: &[f64]) -> bool {
    let ids: Vec<u8> = ids.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
    let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
    let t = ids.len() / 8;
    let all = [
        ("ids", TensorView::new(Dtype::I64, vec![t], &ids).unwrap()),
        ("logits", TensorView::new(Dtype::F64, vec![t, logits.len() / t], &bytes).unwrap()),
    ];
    std::fs::write(folder.join("expected.safetensors"), serialize(all, None).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/lm.py");
    let required = std::env::var_os("LATENS_REQUIRE_NUMPY").is_some();
    let run = match Command::new("python3").arg(script).arg(folder).output() {
        Ok(run) => run,
        Err(error) if required => panic!("LATENS_REQUIRE_NUMPY: python3: {error}"),
        Err(error) => {
            eprintln!("skipped: python3: {error}");
            return false;
        }
    };
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(3) && !required {
        eprintln!("skipped: {said}");
        return false;
    }
    assert!(run.status.success(), "{}: {said}", folder.display());
    println!("{said}");
    true
}

#[test]
fn numpy_gives_the_same_logits() {
    for (name, config) in configs() {
        let folder = folder(env!("CARGO_TARGET_TMPDIR"), &format!("lm-parity-{name}"));
        let (model, ids) = (model::<f64>(&config, &Device::Host), ids(12));
        let batch = model.ids(ids.clone(), 1).unwrap();
        let logits = model.logits(&batch, &mut Hooks::new()).unwrap().to_vec().unwrap();
        // In one file, and in several.
        for most in [None, Some(9_000)] {
            match most {
                None => model.save(&folder).unwrap(),
                Some(most) => model.save_sharded(&folder, most).unwrap(),
            }
            if !agrees(&folder, &ids, &logits) {
                return;
            }
        }
    }
}
