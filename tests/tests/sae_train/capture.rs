//! A training step that is recorded once and replayed gives the bits of one that runs call by call.
use latens::sae::{Buffer, Config, Revive, Trainer, Variant};
use latens::{Device, Philox};
use latens_tests::{devices, skipped, small};

const D: usize = 16;
const ROWS: usize = 96;

fn rows() -> Vec<f32> {
    let mut draw = Philox::new(7);
    (0..ROWS * D).map(|_| draw.uniform() * 4.0 - 1.0).collect()
}

/// The rate rises, stays and falls within these steps, and latents die and are revived.
fn config(variant: Variant, clip: Option<f32>) -> Config {
    let revive = Some(Revive::new(1.0 / 8.0, 6, 32));
    Config { variant, clip, revive, batch: 16, rate: 5e-3, warm: 10, decay: 20, seed: 5, ..Config::new(D, 40, 3, 40) }
}

/// What a step leaves behind, in bits.
fn left(trainer: &Trainer) -> Vec<Vec<u32>> {
    let sae = trainer.sae();
    let all = [sae.w_enc.to_vec(), sae.w_dec.to_vec(), sae.b_enc.to_vec(), sae.b_dec.to_vec()];
    all.map(|part| part.unwrap().into_iter().map(f32::to_bits).collect()).into()
}

struct Course {
    trainer: Trainer,
    buffer: Buffer,
}

impl Course {
    fn new(config: Config, device: &Device) -> Self {
        let buffer = Buffer::new(ROWS, D, ROWS, config.batch, config.seed, 0, device).unwrap();
        Self { trainer: Trainer::new(config, &rows(), device).unwrap(), buffer }
    }

    fn step(&mut self) {
        let batch = self.buffer.next(|_, into| Ok(into.write(&rows())?)).unwrap();
        self.trainer.step(batch).unwrap();
    }
}

/// Nothing in a recorded step allocates or waits, or it would be an error. One variant has its gradients clipped; where time is short
/// it is the only one.
#[test]
fn replayed_steps_are_the_same_bits() {
    let steps: usize = if small() { 18 } else { 40 };
    let mut gpus = devices().into_iter().filter(|device| !device.is_host()).peekable();
    if gpus.peek().is_none() {
        return skipped("no GPU to record on");
    }
    let variants: &[Variant] = if small() { &[Variant::BatchTopK] } else { &[Variant::BatchTopK, Variant::TopK] };
    for (device, &variant) in gpus.flat_map(|gpu| variants.iter().map(move |variant| (gpu.clone(), variant))) {
        let clip = (variant == Variant::BatchTopK).then_some(0.1);
        let [mut replayed, mut called] = [(); 2].map(|()| Course::new(config(variant, clip), &device));
        called.trainer.call_by_call();
        let (mut replays, mut died) = (0, false);
        for step in 0..steps {
            replayed.step();
            called.step();
            assert!(!called.trainer.replays());
            replays += usize::from(replayed.trainer.replays());
            died |= replayed.trainer.progress().unwrap().dead > 0.0;
            assert!(left(&replayed.trainer) == left(&called.trainer), "{variant:?}: step {step} differs");
        }
        // All but the step of each look, every sixteenth.
        assert_eq!((replays, died), (steps - steps.div_ceil(16), true), "{variant:?}");
    }
}

/// Rows of another place each time: the recording does not keep to the memory of the first.
#[test]
fn rows_may_lie_anywhere() {
    for device in devices() {
        let config = config(Variant::TopK, None);
        let step = config.batch * D;
        let mut moving = Trainer::new(config.clone(), &rows(), &device).unwrap();
        let mut host = Trainer::new(config, &rows(), &Device::Host).unwrap();
        for at in 0..5 {
            let part = rows()[at * step..][..step].to_vec();
            let of = |device| latens::Tensor::from_vec(part.clone(), [step / D, D], device).unwrap();
            moving.step(of(&device).view()).unwrap();
            host.step(of(&Device::Host).view()).unwrap();
        }
        let [ours, theirs] = [&moving, &host].map(|trainer| trainer.sae().w_enc.to_vec().unwrap());
        let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or(0.0);
        assert!(apart < 1e-3, "{apart}");
    }
}

/// A trainer may go to another thread, recordings and all.
#[test]
fn trainers_may_move() {
    fn moves<T: Send>() {}
    moves::<Trainer>();
}
