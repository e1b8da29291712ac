//! Steps along signs: every implementation through one table, to the bit.
use latens_core::{Device, Error, Layout, Signum, Tensor, signum_into};
use latens_cpu::Level;
use latens_kernels::optim::signum as family;
use latens_tests::{Cases, Fenced, devices, normal, numbers, place, same};

/// A step of `w` by `g`, with `m`.
type Step<'a> = &'a dyn Fn(&mut [f32], &[f32], &mut [f32]);

const SIZES: &[usize] = &[0, 1, 31, 32, 257, 20_011];

const RATES: &[Signum] = &[
    Signum { lr: 1e-2, beta: 0.9, weight_decay: 0.1 },
    Signum { lr: 0.5, beta: 0.0, weight_decay: 0.0 },
    Signum { lr: 0.0, beta: 0.99, weight_decay: 3.0 },
];

/// `w`, `m`.
type State = [Vec<f32>; 2];

fn core(rates: &Signum, (state, g): &(State, Vec<f32>), device: &Device) -> State {
    let [mut w, mut m] = state.each_ref().map(|x| Fenced::holding(x, [x.len()], device));
    let g = Tensor::from_vec(g.clone(), [g.len()], device).unwrap();
    signum_into(w.view_mut(), g.view(), m.view_mut(), rates).unwrap();
    [w.take(), m.take()]
}

fn equal(what: &str, got: &State, want: &State) {
    assert!(same(&got[0], &want[0]) && same(&got[1], &want[1]), "{what}");
}

#[test]
fn table() {
    let mut cases = Cases::of("optim signum");
    for (seed, &n) in (1..).zip(SIZES) {
        let state = || [normal(n, 1.0, seed), normal(n, 1.0, seed + 10)];
        let layout = Layout::packed([n]).unwrap();
        for rates in RATES {
            for start in [(state(), normal(n, 1.0, seed + 20)), (state(), numbers(n, seed)), (state(), vec![0.0; n])] {
                let p = family::plan(&layout, &layout, &layout, rates).unwrap();
                let host = |step: Step<'_>| {
                    let [mut w, mut m] = start.0.each_ref().map(|x| Fenced::holding(x, [n], &Device::Host));
                    step(w.slice(), &start.1, m.slice());
                    [w.take(), m.take()]
                };
                let want = host(&|w, g, m| family::signum(&p, w, g, m));
                cases.ran("reference");
                for level in Level::all() {
                    let got = host(&|w, g, m| latens_cpu::optim::signum_at(level, &p, w, g, m));
                    equal(&format!("{level:?} {n} {rates:?}"), &got, &want);
                    cases.ran("cpu");
                }
                for device in devices() {
                    equal(&format!("{} {n} {rates:?}", place(&device)), &core(rates, &start, &device), &want);
                    cases.ran(place(&device));
                }
            }
        }
    }
}

/// Signs of all kinds: zeros do not move, NaN shows in its own entry.
#[test]
fn signs() {
    let g = vec![3.0, -0.5, 0.0, -0.0, f32::NAN, f32::NEG_INFINITY, 1e-45];
    for device in devices() {
        let rates = Signum { lr: 0.25, beta: 0.0, weight_decay: 0.0 };
        let start = ([vec![1.0; 7], vec![0.0; 7]], g.clone());
        let [w, _] = core(&rates, &start, &device);
        assert!(same(&w, &[0.75, 1.25, 1.0, 1.0, f32::NAN, 1.25, 0.75]), "{} {w:?}", place(&device));
    }
}

/// A gradient that turns is followed when its average does.
#[test]
fn averages_decide() {
    for device in devices() {
        let rates = Signum { lr: 1.0, beta: 0.5, weight_decay: 0.0 };
        let mut state = [vec![0.0], vec![0.0]];
        let mut path = Vec::new();
        for g in [4.0, -1.0, -1.0, -1.0] {
            state = core(&rates, &(state, vec![g]), &device);
            path.push(state[0][0]);
        }
        // m: 2, 0.5, -0.25, -0.625.
        assert_eq!(path, [-1.0, -2.0, -1.0, 0.0]);
    }
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let of = |n| Tensor::<f32, 1>::zeros([n], &device).unwrap();
        let call = |n, rates: Signum| signum_into(of(3).view_mut(), of(n).view(), of(3).view_mut(), &rates).err();
        let rates = Signum::default();
        assert_eq!(call(3, rates), None);
        assert_eq!(call(4, rates), Some(Error::Size { op: "signum", arg: "g", want: 3, got: 4 }));
        let value = |arg, want| Some(Error::Value { op: "signum", arg, want });
        let rate = "a finite number of at least 0";
        assert_eq!(call(3, Signum { lr: -1.0, ..rates }), value("lr", rate));
        assert_eq!(call(3, Signum { weight_decay: f64::NAN, ..rates }), value("weight_decay", rate));
        assert_eq!(call(3, Signum { beta: 1.0, ..rates }), value("beta", "at least 0 and less than 1"));
    }
}
