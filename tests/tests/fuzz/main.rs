//! Readers of files of strangers, given files that are nearly sound. Whatever the bytes, a reader gives something or an error
//! with words, within two seconds, takes no more memory than some times the file, and does not panic.
//!
//! Every input is a function of its target and its number, so what fails can be made again: `LATENS_FUZZ_REPLAY=gguf-1234`.
//! Each target gets some hundred inputs, or as many as fit in `LATENS_FUZZ_SECONDS`; `LATENS_FUZZ_ONLY=gguf` leaves the others out. An input
//! that ends this program is left in the folder that it names when it begins.
mod checkpoints;
mod formats;
mod large;
mod meter;
mod models;
mod mutate;
mod seeds;
mod steering;
mod targets;

use latens::Philox;
use latens_tests::files::folder;
use meter::{Seen, watch};
use seeds::Seed;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs};
use targets::{ROOM, TARGETS, Target};

/// Time of processors that a read may take.
const TIME: Duration = Duration::from_secs(2);
/// Inputs of a target where no time is given: the same on every machine.
const INPUTS: usize = 160;
/// Faults after which a target is left.
const ENOUGH: usize = 12;

/// One at a time: memory is counted for the whole program.
static TURN: Mutex<()> = Mutex::new(());

/// A folder that holds the files of an input and no others.
struct Place {
    path: PathBuf,
    names: Vec<String>,
}

impl Place {
    fn new(path: PathBuf) -> Self {
        Self { path, names: Vec::new() }
    }

    fn put(&mut self, files: &[(String, Vec<u8>)]) -> usize {
        if !self.names.iter().eq(files.iter().map(|(name, _)| name)) {
            let _ = fs::remove_dir_all(&self.path);
            self.names = files.iter().map(|(name, _)| name.clone()).collect();
        }
        fs::create_dir_all(&self.path).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(self.path.join(name), bytes).unwrap());
        files.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// Times the files that a piece of memory may be as large as, whatever the reader.
const PIECE: f64 = 4.0;

/// What is wrong with a read of files of so many bytes, and the times of the files that it took of memory beyond its room: in all, and in a piece.
fn judge(seen: &Seen, bytes: usize, (factor, room): (usize, usize)) -> (Option<String>, [f64; 2]) {
    let [times, piece] = [seen.most, seen.largest].map(|took| took.saturating_sub(room) as f64 / bytes.max(1) as f64);
    let wrong = match seen {
        Seen { wrong: Some(wrong), .. } => Some(wrong.clone()),
        _ if times > factor as f64 => Some(format!(
            "it took {} bytes for {bytes} of files, {times:.1} times beyond the room, at most {factor}",
            seen.most
        )),
        _ if piece > PIECE => {
            Some(format!("it took a piece of {} bytes for {bytes}, {piece:.1} times beyond the room", seen.largest))
        }
        _ if seen.took > TIME => Some(format!("it took {:?} for {bytes} bytes", seen.took)),
        _ => None,
    };
    (wrong, [times, piece])
}

/// The files of a seed.
fn files_of(seed: &Seed) -> Vec<(String, Vec<u8>)> {
    seed.files.iter().map(|(name, form)| (name.clone(), form.bytes())).collect()
}

/// The files of an input: first the seeds as they are, then what is made of them.
fn files(target: &Target, seeds: &[Seed], number: usize) -> Vec<(String, Vec<u8>)> {
    if let Some(seed) = seeds.get(number) {
        return files_of(seed);
    }
    let key = target
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |key, byte| (key ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let draw = &mut Philox::at(key, (number as u64) << 24);
    // Mostly the sound ones, which come first: there is more to find behind them, and they are small.
    let sound = seeds.iter().filter(|seed| seed.sound).count();
    let [seed, other] = [0; 2].map(|_| {
        let of = if mutate::below(draw, 16) == 0 { seeds.len() } else { sound };
        &seeds[mutate::below(draw, of)].files
    });
    mutate::input(draw, seed, other)
}

/// Read an input, twice if it took long: the machine may have been busy.
fn run(target: &Target, place: &Place) -> Seen {
    let once = || watch(|| (target.read)(&place.path).map_err(|error| error.to_string()));
    let seen = once();
    if seen.wrong.is_none() && seen.took > TIME { once() } else { seen }
}

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().and_then(|value| value.parse().ok())
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}"); // past the capture of the harness
}

/// What went wrong with a target.
fn fuzz(target: &Target, root: &Path, time: Option<Duration>) -> Vec<String> {
    let (seeds, mut place) = ((target.seeds)(), Place::new(root.join(target.name)));
    // Once beforehand: what is made once in a program is none of a file's cost.
    for number in 0..seeds.len() {
        place.put(&files(target, &seeds, number));
        let seen = run(target, &place);
        if seeds[number].sound {
            let said = || (target.read)(&place.path).map_err(|error| error.to_string());
            if !seen.accepted {
                return vec![format!("{}: seed {number} is refused: {:?} {:?}", target.name, seen.wrong, said())];
            }
        }
    }
    let (mut faults, mut accepted, mut most, begun, mut number) = (Vec::new(), 0, (0.0, 0), Instant::now(), 0);
    let mut largest = 0.0_f64;
    let goes_on = |number: usize| match time {
        Some(time) => begun.elapsed() < time || number < seeds.len(),
        None => number < seeds.len().max(INPUTS),
    };
    while goes_on(number) && faults.len() < ENOUGH {
        let files = files(target, &seeds, number);
        let bytes = place.put(&files);
        let seen = run(target, &place);
        let (wrong, [times, piece]) = judge(&seen, bytes, (target.factor, target.room));
        accepted += usize::from(seen.accepted);
        largest = largest.max(piece);
        if times > most.0 {
            most = (times, number);
        }
        if let Some(wrong) = wrong {
            let mut kept = Place::new(env::temp_dir().join("latens-fuzz").join(format!("{}-{number}", target.name)));
            kept.put(&files);
            faults.push(format!("{}-{number}: {wrong}; kept in {}", target.name, kept.path.display()));
        }
        number += 1;
    }
    let (name, (times, at)) = (target.name, most);
    say(&format!(
        "fuzz: {name} {number} inputs, {accepted} accepted; beyond the room a piece of {largest:.1} times the files, in all {times:.1} (of {}, input {at})",
        target.factor
    ));
    faults
}

#[test]
fn readers_of_strangers_files() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let root = folder(env!("CARGO_TARGET_TMPDIR"), "fuzz");
    rayon::broadcast(|_| ()); // its threads are no cost of a file
    if let Ok(replay) = env::var("LATENS_FUZZ_REPLAY") {
        let (name, number) = replay.rsplit_once('-').expect("a target, '-' and a number");
        let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
        let mut place = Place::new(root.join(name));
        let bytes = place.put(&files(target, &(target.seeds)(), number.parse().unwrap()));
        let seen = run(target, &place);
        say(&format!(
            "{replay}: {bytes} bytes, {} of memory, {:?}: {:?}",
            seen.most,
            seen.took,
            (target.read)(&place.path)
        ));
        assert_eq!(judge(&seen, bytes, (target.factor, target.room)).0, None);
        return;
    }
    let time = asked("LATENS_FUZZ_SECONDS").map(Duration::from_secs_f64);
    let only: Option<String> = asked("LATENS_FUZZ_ONLY");
    say(&format!("fuzz: the input at hand is in {}", root.display()));
    let wanted = TARGETS.iter().filter(|target| only.as_ref().is_none_or(|only| only == target.name));
    // Panics are told at the end, and those that a reader catches not at all.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let faults: Vec<String> = wanted.flat_map(|target| fuzz(target, &root, time)).collect();
    std::panic::set_hook(hook);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    fs::remove_dir_all(root).unwrap();
}

/// Readers that do what they must not are found out.
#[test]
fn bad_readers_are_found_out() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let wrong = |read: &dyn Fn() -> Result<(), String>, bytes| judge(&watch(read), bytes, (4, ROOM)).0;
    let take = |bytes: usize| drop(std::hint::black_box(vec![1_u8; bytes]));
    assert_eq!(wrong(&|| Ok(()), 100), None);
    assert_eq!(wrong(&|| Err("no".into()), 100), None);
    // Six times the file, at once, in parts that are alive together, by growing, or in another thread.
    let file = 1 << 20;
    let takes = |read: &dyn Fn()| {
        let done = || {
            read();
            Ok(())
        };
        judge(&watch(done), file, (4, ROOM)).0
    };
    assert_eq!(takes(&|| take(4 * file)), None);
    assert_eq!(takes(&|| (0..6).for_each(|_| take(file))), None);
    assert!(takes(&|| take(6 * file)).unwrap().contains("bytes for 1048576 of files"));
    assert!(takes(&|| drop(std::hint::black_box(vec![vec![1_u8; file]; 6]))).is_some());
    let grown = || (0..6 * file).map(|at| at as u8).filter(|_| true).collect::<Vec<_>>();
    assert!(takes(&|| drop(std::hint::black_box(grown()))).is_some());
    assert!(takes(&|| rayon::join(|| take(6 * file), || ()).1).is_some());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let panics = wrong(&|| panic!("at byte {}", 3), 100);
    std::panic::set_hook(hook);
    assert!(panics.unwrap().contains("panicked: at byte 3"));
    assert!(wrong(&|| Err(" ".into()), 100).unwrap().contains("says nothing"));
    let begun = Instant::now();
    let slow = || {
        let before = meter::used(begun);
        while meter::used(begun) < before + TIME + Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        Ok(())
    };
    assert!(wrong(&slow, 100).unwrap().contains("it took 2."));
}
