//! A full disk. The limit on the size of a file is what the system has that fails like one: its signal is ignored, so that the write
//! itself fails.
use super::{D, Folder, SITES, contexts, model};
use latens::sae::{Config, Shards, Trainer};
use latens::{Device, Philox, Tensor};
use std::fs;
use std::path::Path;
use std::process::Command;

const ROLE: &str = "LATENS_TEST_FULL_DISK";

/// What the test `name` says in a process of its own, whose files have at most so many blocks.
fn limited(name: &str, blocks: usize, folder: &Path) -> String {
    let program = std::env::current_exe().unwrap();
    let command = format!(
        "trap '' XFSZ; ulimit -f {blocks}; exec '{}' --exact data::full::{name} --nocapture",
        program.display()
    );
    let run = Command::new("sh").args(["-c", &command]).env(ROLE, folder).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{said}{run:?}");
    said
}

fn write(folder: &Path) -> latens::io::Result<Shards> {
    Shards::write(folder, &model(), &contexts(24, 14, 8), &SITES, 12, "words", |_| {})
}

/// Files of activations that are there stay, one that cannot be written is named and leaves nothing, and the same call goes on later.
#[test]
fn activations_on_a_full_disk() {
    if let Some(folder) = std::env::var_os(ROLE) {
        return println!("refused: {}", write(Path::new(&folder)).unwrap_err());
    }
    let folder = Folder::new("full-shards");
    write(&folder.0).unwrap();
    let whole = folder.files();
    let lost = folder.0.join("blocks.0.hook_mlp_out/00001.safetensors");
    fs::remove_file(&lost).unwrap();
    // The note has room, 9 KB of rows have none.
    let said = limited("activations_on_a_full_disk", 8, &folder.0);
    assert!(said.contains("refused: cannot write") && said.contains("00001.safetensors: "), "{said}");
    let left: Vec<_> = whole.iter().filter(|(path, _)| *path != lost).cloned().collect();
    assert!(folder.files() == left);
    write(&folder.0).unwrap();
    assert!(folder.files() == whole);
    // Nor has a note, where there is room for nothing.
    let empty = Folder::new("full-note");
    let said = limited("activations_on_a_full_disk", 0, &empty.0);
    assert!(said.contains("refused: cannot write") && said.contains("shards.json: "), "{said}");
    assert!(empty.files().iter().all(|(path, _)| path.ends_with(".latens.lock")));
}

/// The state of an earlier step stays, and training goes on from it.
#[test]
fn states_on_a_full_disk() {
    let step = |trainer: &mut Trainer| {
        let mut draw = Philox::new(trainer.steps() as u64);
        let rows = (0..16 * D).map(|_| draw.uniform() - 0.5).collect();
        trainer.step(Tensor::from_vec(rows, [16, D], &Device::Host).unwrap().view()).unwrap();
    };
    if let Some(folder) = std::env::var_os(ROLE) {
        let state = Path::new(&folder).join("state.safetensors");
        let mut trainer = Trainer::load_state(&state, &Device::Host).unwrap();
        step(&mut trainer);
        return println!("refused: {}", trainer.save_state(&state).unwrap_err());
    }
    let folder = Folder::new("full-state");
    fs::create_dir_all(&folder.0).unwrap();
    let state = folder.0.join("state.safetensors");
    let mut draw = Philox::new(1);
    let sample: Vec<f32> = (0..64 * D).map(|_| draw.uniform() - 0.5).collect();
    let mut trainer = Trainer::new(Config { batch: 16, ..Config::new(D, 40, 3, 4) }, &sample, &Device::Host).unwrap();
    step(&mut trainer);
    trainer.save_state(&state).unwrap();
    let before = folder.files();
    let said = limited("states_on_a_full_disk", 8, &folder.0);
    assert!(said.contains("refused: cannot write") && said.contains("state.safetensors: "), "{said}");
    assert!(folder.files() == before);
    assert_eq!(Trainer::load_state(&state, &Device::Host).unwrap().steps(), 1);
}
