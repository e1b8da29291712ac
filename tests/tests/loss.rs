//! One table of cases; every implementation of the cross-entropy goes through it.
use latens_core::{Device, Error, Float, IGNORED, Layout, Tensor, bf16, cross_entropy, cross_entropy_into, f16};
use latens_cpu::Level;
use latens_kernels::loss as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, numbers, place};

/// `[rows, classes, padding]`.
const CASES: &[[usize; 3]] =
    &[[0, 4, 0], [1, 1, 0], [3, 2, 1], [4, 31, 0], [3, 33, 7], [2, 1000, 0], [2, 2049, 3], [2, 6000, 0], [40, 7, 0]];

fn targets(rows: usize, classes: usize) -> Vec<u32> {
    (0..rows).map(|r| if r % 4 == 3 { IGNORED } else { (r * 31 % classes) as u32 }).collect()
}

fn check<T: Float<Acc: Poison> + Poison>(logits: &[T], [rows, classes, padding]: [usize; 3], cases: &mut Cases) {
    let (what, limit) = (format!("{rows} {classes}"), 1e-12);
    let layout = Layout::strided([rows, classes], [classes + padding, 1]).unwrap();
    let (logits, targets) = (&logits[..layout.span()], targets(rows, classes));
    let p = family::plan(&layout, &Layout::packed([rows]).unwrap()).unwrap();
    let mut want = vec![T::Acc::POISON; rows];
    family::forward(&p, logits, &targets, &mut want).unwrap();
    cases.ran("reference");
    for level in Level::all() {
        let mut losses = Fenced::<T::Acc, 1>::new([rows], &Device::Host);
        latens_cpu::loss::forward_at(level, &p, logits, &targets, losses.slice()).unwrap();
        close(&format!("{level:?} {what}"), &losses.full(), &want, limit);
        cases.ran("cpu");
    }
    for device in devices() {
        let what = format!("{} {what}", place(&device));
        let logits = Tensor::from_slice(logits, layout, &device).unwrap();
        let targets = Tensor::from_slice(&targets, Layout::packed([rows]).unwrap(), &device).unwrap();
        let losses = cross_entropy(logits.view(), targets.view()).unwrap();
        close(&what, &losses.to_vec().unwrap(), &want, limit);
        let mut into = Fenced::<T::Acc, 1>::new([rows], &device);
        cross_entropy_into(logits.view(), targets.view(), into.view_mut()).unwrap();
        close(&what, &into.full(), &want, limit);
        cases.ran(place(&device));
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("loss");
    for (seed, &case @ [rows, classes, padding]) in CASES.iter().enumerate() {
        let count = rows * (classes + padding);
        check(&normal::<T>(count, 4.0, seed as u64), case, &mut cases);
        check(&numbers::<T>(count, seed as u64), case, &mut cases);
        check(&vec![T::narrow(300.0); count], case, &mut cases);
        check(&vec![T::narrow(f64::NEG_INFINITY); count], case, &mut cases);
        // Rising: the largest so far changes all the time.
        check(&(0..count).map(|i| T::narrow(i as f64 * 0.01)).collect::<Vec<_>>(), case, &mut cases);
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}

/// Equal logits are as surprising as a fair draw; adding the same to all changes nothing.
#[test]
fn shift_changes_nothing() {
    for device in devices() {
        let targets = Tensor::from_slice(&[5_u32], Layout::packed([1]).unwrap(), &device).unwrap();
        let loss = |x: &[f32]| {
            let logits = Tensor::from_slice(x, Layout::packed([1, x.len()]).unwrap(), &device).unwrap();
            cross_entropy(logits.view(), targets.view()).unwrap().to_vec().unwrap()[0]
        };
        approx::assert_abs_diff_eq!(loss(&[3.0; 64]), 64_f32.ln(), epsilon = 1e-6);
        let x = normal::<f32>(64, 2.0, 1);
        let moved: Vec<f32> = x.iter().map(|x| x + 64.0).collect();
        approx::assert_abs_diff_eq!(loss(&x), loss(&moved), epsilon = 2e-5);
    }
}

/// On the host a bad target is an error, and nothing is written; on CUDA its loss is NaN.
#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let logits = Tensor::<f32, 2>::zeros([2, 3], &device).unwrap();
        let targets = Tensor::from_slice(&[3, 1], Layout::packed([2]).unwrap(), &device).unwrap();
        let mut losses = Fenced::<f32, 1>::new([2], &device);
        let done = cross_entropy_into(logits.view(), targets.view(), losses.view_mut());
        if device.is_host() {
            assert_eq!(done, Err(Error::Range { op: "cross_entropy", arg: "targets", max: 2, got: 3 }));
            assert_eq!(losses.take(), [f32::POISON; 2]);
        } else {
            done.unwrap();
            close("cuda", &losses.take(), &[f64::NAN, 3_f64.ln()], 1e-12);
        }
        let one = Tensor::from_slice(&[0], Layout::packed([1]).unwrap(), &device).unwrap();
        let size = Error::Size { op: "cross_entropy", arg: "targets", want: 2, got: 1 };
        assert_eq!(cross_entropy(logits.view(), one.view()).err(), Some(size));
    }
}
