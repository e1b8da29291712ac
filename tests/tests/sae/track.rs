//! Who fired, and who is dead: whole numbers, so every implementation gives the same, whatever its threads and instructions.
use latens_core::{Device, Layout, sae_dead_into, sae_track_into};
use latens_cpu::sae::{Level, track as cpu};
use latens_kernels::Philox;
use latens_kernels::sae::{Shape, track};
use latens_tests::{Cases, Coded, Fenced, devices, normal, place, small, vector};

/// `[rows, n, k]`; a `k` of [`FLAT`] makes rows of different widths. The last ones are work for several threads.
const CASES: &[[usize; 3]] = &[
    [0, 5, 2],
    [3, 0, 2],
    [2, 5, 0],
    [1, 1, 1],
    [5, 12, 4],
    [33, 300, 7],
    [0, 5, FLAT],
    [7, 20, FLAT],
    [50, 100, FLAT],
    [700, 70_001, 64],
    [9000, 40_000, FLAT],
];
const FLAT: usize = usize::MAX;

struct Case {
    codes: Coded<f32>,
    since: Vec<u32>,
}

impl Case {
    /// Empty slots hold NaN, some values do not fire, some latents come twice, and some are at the end of a `u32`.
    fn new([rows, n, k]: [usize; 3], seed: u64) -> Self {
        let mut draw = Philox::new(seed);
        let mut offsets = Vec::new();
        let shape = if k == FLAT {
            offsets.push(0);
            (0..rows).for_each(|r| offsets.push(offsets[r] + draw.below(9)));
            Shape::flat(rows, offsets[rows] as usize + 3).unwrap()
        } else {
            Shape::fixed(rows, k).unwrap()
        };
        let mut values = normal::<f32>(shape.slots(), 1.0, seed + 1);
        let latents: Vec<u32> =
            (0..shape.slots()).map(|_| draw.below(n as u32 + 1 + n as u32 / 8).min(n as u32)).collect();
        let empty = values.iter_mut().zip(&latents).filter(|(_, latent)| **latent == n as u32);
        empty.for_each(|(value, _)| *value = f32::NAN);
        let since = (0..n as u32).map(|l| if l % 5 == 0 { u32::MAX - 3 } else { l % 300 }).collect();
        Self { codes: Coded { shape, values, latents, offsets }, since }
    }

    /// `since` on `device`, after `tokens` more.
    fn tracked(&self, device: &Device, tokens: u32, fired: f32) -> Vec<u32> {
        let mut since = Fenced::<u32, 1>::holding(&self.since, [self.since.len()], device);
        self.codes.with(device, |codes| sae_track_into(codes, since.view_mut(), tokens, fired)).unwrap();
        since.take()
    }
}

#[test]
fn tracks() {
    let mut cases = Cases::of("sae track");
    for (seed, &case) in CASES.iter().enumerate().filter(|(_, case)| !small() || case[1] < 1000) {
        let c = Case::new(case, seed as u64);
        for fired in [0.0, 0.5] {
            let p = track::plan(&c.codes.shape, &Layout::packed([c.since.len()]).unwrap(), 100, fired).unwrap();
            let mut want = c.since.clone();
            track::track(&p, c.codes.host(), &mut want);
            for level in Level::all() {
                let mut since = Fenced::<u32, 1>::holding(&c.since, [c.since.len()], &Device::Host);
                cpu::track_at(level, &p, c.codes.host(), since.slice());
                assert!(since.take() == want, "{level:?} {case:?}");
                cases.ran("cpu");
            }
            for device in devices() {
                assert!(c.tracked(&device, 100, fired) == want, "{} {case:?}", place(&device));
                cases.ran(place(&device));
            }
        }
    }
}

/// What fires, and what saturates, by hand.
#[test]
fn tracks_by_hand() {
    let shape = Shape::fixed(2, 2).unwrap();
    let (values, latents) = (vec![1.0, f32::NAN, 0.5, 2.0], vec![1, 2, 3, 4]);
    let codes = Coded { shape, values, latents, offsets: Vec::new() };
    let case = Case { codes, since: vec![u32::MAX, 7, 7, 7] };
    for device in devices() {
        assert_eq!(case.tracked(&device, 5, 0.5), [u32::MAX, 0, 12, 12], "{}", place(&device));
    }
}

#[test]
fn lists_the_dead() {
    let mut cases = Cases::of("sae dead");
    for n in [0, 1, 31, 64, 1024, 4096, 9000, 40_000].into_iter().filter(|&n| !small() || n < 9000) {
        // All, every second, few, one, and whole runs of them.
        let patterns: [fn(usize) -> bool; 5] =
            [|_| true, |i| i % 2 == 0, |i| i % 97 == 3, |i| i == 0, |i| i / 100 % 2 == 1];
        for (pattern, dead) in patterns.into_iter().enumerate() {
            let since: Vec<u32> = (0..n).map(|i| if dead(i) { 7 } else { 6 }).collect();
            let [all, one] = [n, 1].map(|len| Layout::packed([len]).unwrap());
            let p = track::plan_dead(&all, 7, &all, &one).unwrap();
            let (mut list, mut count) = (vec![0; n], vec![0]);
            track::dead(&p, &since, &mut list, &mut count);
            let outputs = |device: &Device| (Fenced::<u32, 1>::new([n], device), Fenced::<u32, 1>::new([1], device));
            for level in Level::all() {
                let (mut l, mut c) = outputs(&Device::Host);
                cpu::dead_at(level, &p, &since, l.slice(), c.slice());
                assert!((l.take(), c.take()) == (list.clone(), count.clone()), "{level:?} {n} {pattern}");
                cases.ran("cpu");
            }
            for device in devices() {
                let (mut l, mut c) = outputs(&device);
                sae_dead_into(vector(&since, &device).view(), 7, l.view_mut(), c.view_mut()).unwrap();
                assert!((l.take(), c.take()) == (list.clone(), count.clone()), "{} {n} {pattern}", place(&device));
                cases.ran(place(&device));
            }
        }
    }
}
