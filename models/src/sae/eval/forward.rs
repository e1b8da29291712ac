use super::probe::softplus;
use super::{Fit, Inputs, Probe};
use crate::io::Result;
use rayon::prelude::*;

/// Columns that are tried at a time.
const TRIED: usize = 24;

/// `k` columns for a probe, chosen one after another: of the two dozen along which the loss of the probe so far falls most steeply, each
/// divided by its deviation, the one with which the probe fits best; of equal ones, the first. Fewer where no other says anything.
pub(super) fn forward(x: Inputs<'_>, labels: &[bool], k: usize, fit: Fit) -> Result<Vec<usize>> {
    let (mean, deviation) = x.moments();
    let yes = labels.iter().filter(|&&label| label).count() as f64;
    let odds = (yes / (labels.len() as f64 - yes)).ln();
    let (mut chosen, mut logits) = (Vec::new(), vec![odds; labels.len()]);
    while chosen.len() < k {
        let mut slopes = vec![0.0; x.width()];
        let mut all = 0.0;
        for (row, (&z, &label)) in logits.iter().zip(labels).enumerate() {
            let left = f64::from(u8::from(label)) - 1.0 / (1.0 + (-z).exp());
            x.each(row, |column, x| slopes[column] += left * x);
            all += left;
        }
        let steep = |column: usize| match deviation[column] {
            deviation if deviation > 1e-9 * mean[column].abs() => {
                (slopes[column] - all * mean[column]).abs() / deviation
            }
            _ => 0.0,
        };
        let mut order: Vec<usize> = (0..x.width()).filter(|at| steep(*at) > 0.0 && !chosen.contains(at)).collect();
        order.sort_by(|&a, &b| steep(b).total_cmp(&steep(a)).then(a.cmp(&b)));
        order.truncate(TRIED);
        let tried = order.par_iter().map(|&column| {
            let columns: Vec<usize> = chosen.iter().copied().chain([column]).collect();
            let values = x.columns(&columns);
            let of = Inputs::Dense { values: &values, width: columns.len() };
            let logits = Probe::fit(of, labels, fit)?.logits(of)?;
            let loss = |(z, &label): (&f64, &bool)| softplus(if label { -z } else { *z });
            Ok((logits.iter().zip(labels).map(loss).sum::<f64>(), column, logits))
        });
        let tried = tried.collect::<Result<Vec<_>>>()?;
        let Some((_, column, fitted)) = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))) else {
            break;
        };
        chosen.push(column);
        logits = fitted;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns say together what neither says alone, and a third, whose means differ more than theirs, says it with noise.
    #[test]
    fn what_goes_together_is_found() {
        let mut draw = crate::Philox::new(5);
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for row in 0..300 {
            let label = row % 2 == 0;
            let shared = 4.0 * draw.uniform();
            let side = if label { 0.4 } else { -0.4 };
            let noise = draw.uniform() - 0.5;
            values.extend([shared + side, shared - side, 0.5 * side + noise, 1.0]);
            labels.push(label);
        }
        let x = Inputs::Dense { values: &values, width: 4 };
        let chosen = forward(x, &labels, 3, Fit::default()).unwrap();
        assert_eq!(chosen[0], 2, "alone it says most");
        assert_eq!(
            {
                let mut all = chosen.clone();
                all.sort();
                all
            },
            [0, 1, 2]
        );
        assert_eq!(forward(x, &labels, 4, Fit::default()).unwrap(), chosen, "the last is the same everywhere");
        let pair = x.columns(&chosen);
        let of = Inputs::Dense { values: &pair, width: 3 };
        assert_eq!(Probe::fit(of, &labels, Fit::default()).unwrap().accuracy(of, &labels).unwrap(), 1.0);
    }
}
