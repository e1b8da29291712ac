//! Training that is killed at any moment goes on from its state file to the same bytes.
use latens::sae::{Buffer, Config, Format, Origin, Trainer};
use latens::{Device, Philox};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const D: usize = 24;
const ROWS: usize = 640;
const STEPS: usize = 400;
const FOLDER: &str = "LATENS_KILL_FOLDER";

/// Train in `folder`, from its state file if there is one, writing the state at every step.
fn train(folder: &Path) {
    let state = folder.join("state.safetensors");
    let mut draw = Philox::new(11);
    let rows: Vec<f32> = (0..ROWS * D).map(|_| draw.uniform() - 0.5).collect();
    let mut trainer = if state.is_file() {
        Trainer::load_state(&state, &Device::Host).unwrap()
    } else {
        let config = Config { batch: 64, ..Config::new(D, 96, 6, STEPS) };
        Trainer::new(config, &rows, &Device::Host).unwrap()
    };
    let mut buffer = Buffer::new(ROWS, D, ROWS, 64, 3, trainer.steps() as u64, &Device::Host).unwrap();
    while trainer.steps() < STEPS {
        let batch = buffer.next(|_, all| Ok(all.write(&rows)?)).unwrap();
        trainer.step(batch).unwrap();
        trainer.save_state(&state).unwrap();
    }
    trainer.finish().unwrap().save(&folder.join("sae"), Format::SaeLens, &Origin::default()).unwrap();
}

/// Not a test by itself: what the others start as a process of its own.
#[test]
fn worker() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        train(Path::new(&folder));
    }
}

fn start(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "kill::worker"]).env(FOLDER, folder).stdout(Stdio::null()).stderr(Stdio::null());
    child.spawn().unwrap()
}

#[test]
fn killed_and_resumed() {
    let root = std::env::temp_dir().join(format!("latens-kill-{}", std::process::id()));
    let [whole, killed] = ["whole", "killed"].map(|name| root.join(name));
    for folder in [&whole, &killed] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let begun = Instant::now();
    assert!(start(&whole).wait().unwrap().success());
    let mut length = begun.elapsed();

    // Killed again and again, each time after another part of the time that the whole run took.
    let (mut kills, mut draw) = (0, Philox::new(5));
    loop {
        let mut child = start(&killed);
        std::thread::sleep(length.mul_f32(0.15 + 0.2 * draw.uniform()).max(Duration::from_millis(20)));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            if kills > 0 {
                break;
            }
            // The machine was slower before: once more, and sooner.
            length /= 4;
            assert!(length > Duration::from_millis(20), "the run was over before it could be killed");
            std::fs::remove_dir_all(&killed).unwrap();
            std::fs::create_dir_all(&killed).unwrap();
            continue;
        }
        child.kill().unwrap(); // SIGKILL: nothing of it runs any more
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 60, "no progress between kills");
    }
    for file in ["sae_weights.safetensors", "cfg.json"] {
        let [a, b] = [&whole, &killed].map(|folder| std::fs::read(folder.join("sae").join(file)).unwrap());
        assert!(a == b, "{file} differs after {kills} kills");
    }
    std::fs::remove_dir_all(root).unwrap();
}
