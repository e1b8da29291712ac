use super::*;
use crate::sae::Gate;
use crate::{Device, Tensor};
use approx::assert_relative_eq;

/// Three latents along three axes of width 4; the fourth entry is never reconstructed.
fn pooled(rows: &[[f32; 4]]) -> (Sae, Pooled) {
    let eye = vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let sae = Sae::tied(eye, vec![0.0; 4], Gate::Strongest(3), &Device::Host).unwrap();
    let mut pooled = Pooled::new(&sae);
    let x = Tensor::<f32, 2>::from_vec(rows.concat(), [rows.len(), 4], &Device::Host).unwrap();
    pooled.push(&sae, &sae.bias().unwrap(), x.view(), &vec![1; rows.len()]).unwrap();
    (sae, pooled)
}

const ROWS: [[f32; 4]; 4] = [[5.0, 1.0, 0.0, 2.0], [3.0, 0.0, 0.0, 4.0], [1.0, 2.0, 0.5, 0.0], [1.0, 3.0, 0.0, 0.0]];
const LABELS: [bool; 4] = [true, true, false, false];

#[test]
fn vectors_by_hand() {
    let (sae, states) = pooled(&ROWS);
    // The means differ by [3, -2, -0.25, 3].
    let find = |sdcv: Sdcv| sdcv.find(&sae, &states, &LABELS).unwrap();
    let raw = find(Sdcv { denoise: Denoise::Raw, ..Sdcv::default() });
    assert_eq!((raw.values, raw.latents), (vec![3.0, -2.0, -0.25, 3.0], vec![]));
    let of = |k, denoise| Sdcv { k, denoise, ..Sdcv::default() };
    let one = find(of(1, Denoise::Masked));
    assert_eq!((one.values, one.latents), (vec![3.0, 0.0, 0.0, 0.0], vec![(0, 3.0)]));
    assert_eq!(one.others, [(1, 1.5)]);
    assert_eq!(find(of(2, Denoise::Masked)).values, [3.0, -2.0, 0.0, 0.0]);
    assert_eq!(find(Sdcv { discarded: true, ..of(1, Denoise::Masked) }).values, [0.0, -2.0, -0.25, 0.0]);
    assert_eq!(find(of(1, Denoise::Scaled { by: 3.0, error: true })).values, [9.0, -2.0, -0.25, 3.0]);
    assert_eq!(find(of(1, Denoise::Scaled { by: 3.0, error: false })).values, [9.0, -2.0, -0.25, 0.0]);
    // With the mask alone, to scale is to lengthen: the direction is the same.
    let signed = find(Sdcv { select: Select::Signed, ..of(3, Denoise::Masked) });
    assert_eq!(signed.latents, [(0, 3.0)]);
}

/// The weights of a probe point the same way, and those of columns of deviation 1 are these times the deviations.
#[test]
fn probes() {
    let (sae, states) = pooled(&ROWS);
    let of = |standardised| Estimate::Logistic { l2: 1.0, standardised };
    let find = |estimate| Sdcv { k: 2, estimate, ..Sdcv::default() }.find(&sae, &states, &LABELS).unwrap().values;
    let (plain, scaled) = (find(of(false)), find(of(true)));
    assert!(plain[0] > 0.0 && plain[1] < 0.0 && plain[2] == 0.0 && plain[3] == 0.0);
    // Deviations of 5, 3, 1, 1 and of 1, 0, 2, 3.
    assert_relative_eq!(scaled[0] / plain[0], 2.75_f32.sqrt(), max_relative = 1e-5);
    assert_relative_eq!(scaled[1] / plain[1], 1.25_f32.sqrt(), max_relative = 1e-5);
}

#[test]
fn scores_by_hand() {
    let (_, states) = pooled(&ROWS);
    let of = |select| scores(states.latents(), &LABELS, select).unwrap();
    assert_eq!(of(Select::Difference), [3.0, 2.0, 0.25]);
    assert_eq!(of(Select::Signed), [3.0, -2.0, -0.25]);
    // Between: 2 · 2 / 4 · 9 = 9; within: (2 + 0) / 2 = 1.
    assert_relative_eq!(of(Select::F)[0], 9.0, max_relative = 1e-6);
    assert_relative_eq!(of(Select::F)[1], 4.0 / 0.5, max_relative = 1e-6);
    // The first ranks all right, the second all wrong, the third ties in half of the pairs: 0.25.
    assert_eq!(of(Select::Auc), [0.5, 0.5, 0.25]);
    let logistic = of(Select::Logistic);
    assert!(logistic[0] > logistic[2] && logistic[1] > logistic[2], "{logistic:?}");
    assert_eq!(best(states.latents(), &LABELS, Select::Auc, 2).unwrap(), [(0, 0.5), (1, 0.5)]);
}

#[test]
fn wrong_calls_are_errors() {
    let (sae, states) = pooled(&ROWS);
    let said = |sdcv: Sdcv, labels: &[bool]| sdcv.find(&sae, &states, labels).unwrap_err().to_string();
    assert!(said(Sdcv::default(), &LABELS).starts_with("k: 32 of 3"));
    let two = Sdcv { k: 2, ..Sdcv::default() };
    assert!(said(two, &[true; 4]).contains("both kinds are needed"));
    assert!(said(two, &[false; 4]).contains("both kinds are needed"));
    assert!(said(two, &[true]).contains("1 of them, for 4 rows"));
    let (_, same) = pooled(&[ROWS[0], ROWS[0]]);
    assert!(two.find(&sae, &same, &[true, false]).unwrap_err().to_string().contains("both kinds are the same"));
    let raw = Sdcv { denoise: Denoise::Raw, ..two };
    assert!(raw.find(&sae, &same, &[true, false]).unwrap_err().to_string().contains("both kinds are the same"));
    // However many of each, in whatever order: sums that cancel but for rounding are no direction.
    let one = [0.3, 0.7, 0.1, 0.9];
    for (yes, no) in [(3, 2), (3, 3), (5, 5), (50, 41)] {
        let labels: Vec<bool> = (0..yes + no).map(|row| row < yes).collect();
        let (sae, same) = pooled(&vec![one; yes + no]);
        for sdcv in [two, raw, Sdcv { estimate: Estimate::Logistic { l2: 1.0, standardised: false }, ..raw }] {
            assert!(sdcv.find(&sae, &same, &labels).unwrap_err().to_string().contains("both kinds are the same"));
        }
    }
    let scaled = Sdcv { denoise: Denoise::Scaled { by: f32::NAN, error: true }, ..two };
    assert!(said(scaled, &LABELS).contains("hold NaN"));
    let narrow = Sae::tied(vec![1.0, 0.0], vec![0.0; 2], Gate::Strongest(1), &Device::Host).unwrap();
    assert!(two.find(&narrow, &states, &LABELS).unwrap_err().to_string().starts_with("states: "));
}
