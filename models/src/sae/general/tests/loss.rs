//! The loss, written down anew in `f64`.
use super::{D, N, ROWS};
use crate::sae::train::Trainer;
use crate::sae::{Config, Cost, Gated, Multi, Own, Sparsity, Switch, Variant};

/// All that is learned, in `f64`.
#[derive(Clone, Default)]
pub struct Learned {
    pub w_enc: Vec<f64>,
    pub w_dec: Vec<f64>,
    pub b_enc: Vec<f64>,
    pub b_dec: Vec<f64>,
    pub r_mag: Vec<f64>,
    pub b_mag: Vec<f64>,
    pub skip: Vec<f64>,
    pub thresholds: Vec<f64>,
    pub router: Vec<f64>,
    pub router_b: Vec<f64>,
}

pub fn wide(of: &[f32]) -> Vec<f64> {
    of.iter().map(|&x| x.into()).collect()
}

impl Learned {
    pub fn of(trainer: &Trainer) -> Self {
        let sae = &trainer.sae;
        let mut all = Self {
            w_enc: wide(&sae.w_enc.to_vec().unwrap()),
            w_dec: wide(&sae.w_dec.to_vec().unwrap()),
            b_enc: wide(&sae.b_enc.to_vec().unwrap()),
            b_dec: wide(&sae.b_dec.to_vec().unwrap()),
            ..Self::default()
        };
        match &sae.own {
            Some(Own::Magnitudes { r_mag, b_mag }) => {
                (all.r_mag, all.b_mag) = (wide(&r_mag.to_vec().unwrap()), wide(&b_mag.to_vec().unwrap()));
            }
            Some(Own::Thresholds(thresholds)) => all.thresholds = wide(&thresholds.to_vec().unwrap()),
            None => {}
        }
        if let Some(router) = &sae.router {
            (all.router, all.router_b) = (wide(&router.w.to_vec().unwrap()), wide(&router.b.to_vec().unwrap()));
        }
        if let Some(skip) = &sae.skip {
            all.skip = wide(&skip.to_vec().unwrap());
        }
        all
    }

    pub fn part(&mut self, name: &str) -> &mut Vec<f64> {
        match name {
            "w_enc" => &mut self.w_enc,
            "w_dec" => &mut self.w_dec,
            "b_enc" => &mut self.b_enc,
            "b_dec" => &mut self.b_dec,
            "r_mag" => &mut self.r_mag,
            "b_mag" => &mut self.b_mag,
            "router" => &mut self.router,
            "router_b" => &mut self.router_b,
            _ => &mut self.skip,
        }
    }
}

/// The loss of a batch as the documentation says it, but for dead latents.
pub struct Loss<'a> {
    pub config: &'a Config,
    pub x: &'a [f64],
    pub target: &'a [f64],
    pub unit: f64,
    pub norm: f64,
    /// The decoder that a detached reconstruction uses.
    pub fixed: &'a Learned,
    /// Latents that are dead, and what their loss weighs.
    pub dead: (Vec<usize>, f64),
}

impl Loss<'_> {
    pub fn z(&self, p: &Learned) -> Vec<f64> {
        let mut z = Vec::new();
        for x in self.x.chunks_exact(D) {
            for j in 0..N {
                let of = |i: usize| p.w_enc[j * D + i] * (x[i] - if self.config.centred { p.b_dec[i] } else { 0.0 });
                z.push(p.b_enc[j] + (0..D).map(of).sum::<f64>());
            }
        }
        z
    }

    /// The `k` largest positive ones of some places.
    fn largest(z: &[f64], rank: &[f64], places: std::ops::Range<usize>, k: usize, y: &mut [f64]) {
        let mut order: Vec<usize> = places.filter(|&at| z[at] > 0.0).collect();
        order.sort_by(|&a, &b| rank[b].total_cmp(&rank[a]));
        order.into_iter().take(k).for_each(|at| y[at] = z[at]);
    }

    /// The chances of experts for a row.
    fn chances(&self, p: &Learned, row: usize) -> Vec<f64> {
        let x = &self.x[row * D..][..D];
        let logit = |w: &[f64]| (0..D).map(|i| w[i] * (x[i] - p.router_b[i])).sum::<f64>().exp();
        let all: Vec<f64> = p.router.chunks_exact(D).map(logit).collect();
        let sum: f64 = all.iter().sum();
        all.into_iter().map(|one| one / sum).collect()
    }

    fn expert(chances: &[f64]) -> usize {
        (0..chances.len()).max_by(|&a, &b| chances[a].total_cmp(&chances[b])).unwrap()
    }

    /// What keeps experts busy: the shares are no function of what is learned.
    fn balance(&self, p: &Learned, experts: usize) -> f64 {
        let mut sum = 0.0;
        for expert in 0..experts {
            let share = (0..ROWS).filter(|&row| Self::expert(&self.chances(self.fixed, row)) == expert).count();
            let mean = (0..ROWS).map(|row| self.chances(p, row)[expert]).sum::<f64>() / ROWS as f64;
            sum += share as f64 / ROWS as f64 * mean;
        }
        experts as f64 * sum / D as f64
    }

    pub fn y(&self, p: &Learned, z: &[f64], k: usize) -> Vec<f64> {
        let mut y = vec![0.0; z.len()];
        let length = |j: usize| p.w_dec[j * D..][..D].iter().map(|w| w * w).sum::<f64>().sqrt();
        let rank: Vec<f64> = match self.config.ranked_by_length {
            true => z.iter().enumerate().map(|(at, z)| z * length(at % N)).collect(),
            false => z.to_vec(),
        };
        match self.config.variant {
            Variant::TopK => (0..ROWS).for_each(|r| Self::largest(z, &rank, r * N..(r + 1) * N, k, &mut y)),
            Variant::BatchTopK => Self::largest(z, &rank, 0..z.len(), self.config.total(k), &mut y),
            Variant::GroupMax => {
                (0..ROWS * k).for_each(|g| Self::largest(z, &rank, g * (N / k)..(g + 1) * (N / k), 1, &mut y));
            }
            Variant::Switch(Switch { experts, .. }) => {
                for row in 0..ROWS {
                    let chances = self.chances(p, row);
                    let (expert, each) = (Self::expert(&chances), N / experts);
                    let first = row * N + expert * each;
                    Self::largest(z, &rank, first..first + each, k, &mut y);
                    y[row * N..(row + 1) * N].iter_mut().for_each(|y| *y *= chances[expert]);
                }
            }
            _ => {}
        }
        for at in 0..z.len() {
            let j = at % N;
            match self.config.variant {
                Variant::ReLU(_) => y[at] = z[at].max(0.0),
                Variant::JumpReLU(_) if z[at] > p.thresholds[j] => y[at] = z[at],
                Variant::Gated(_) if z[at] > 0.0 => {
                    y[at] = (p.r_mag[j].exp() * (z[at] - p.b_enc[j]) + p.b_mag[j]).max(0.0);
                }
                _ => {}
            }
        }
        y
    }

    /// What a decoder leaves over of a row, from the first so many latents.
    pub fn error(&self, p: &Learned, skip: &[f64], row: usize, y: &[f64], prefix: usize) -> [f64; D] {
        std::array::from_fn(|i| {
            let more: f64 = (0..skip.len() / D).map(|c| skip[i * D + c] * self.x[row * D + c]).sum();
            let made: f64 = (0..prefix).map(|j| y[row * N + j] * p.w_dec[j * D + i]).sum();
            self.target[row * D + i] - p.b_dec[i] - made - more
        })
    }

    fn squares(&self, p: &Learned, skip: &[f64], y: &[f64], prefix: usize) -> f64 {
        let all = (0..ROWS).flat_map(|row| self.error(p, skip, row, y, prefix));
        all.map(|e| e * e).sum::<f64>() / (ROWS as f64 * self.norm)
    }

    pub fn cost(&self, sparsity: &Sparsity, p: &Learned, y: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (at, &y) in y.iter().enumerate().filter(|(_, y)| **y > 0.0) {
            let row = &p.w_dec[at % N * D..][..D];
            let length = |side: &[f64]| side.iter().map(|w| w * w).sum::<f64>().sqrt();
            let by = if sparsity.by_length { row.chunks(D / self.config.sides).map(length).sum() } else { 1.0 };
            let a = by * y / self.unit;
            sum += match sparsity.cost {
                Cost::Power(power) => a.powf(power.into()),
                Cost::Tanh(c) => (f64::from(c) * a).tanh(),
                Cost::Count | Cost::Target(_) => 0.0, // has no slope but that of thresholds
            };
        }
        f64::from(sparsity.weight) * sum / (ROWS * D) as f64
    }

    /// What the strongest dead latents make of what is left over, which is no function of what is learned.
    fn revived(&self, p: &Learned, z: &[f64], dead: &[usize], k: usize) -> f64 {
        let left = self.y(self.fixed, &self.z(self.fixed), self.config.k);
        let mut sum = 0.0;
        for row in 0..ROWS {
            let e = self.error(self.fixed, &[], row, &left, N);
            let mut of_row = vec![0.0; z.len()];
            let mut order: Vec<usize> = dead.iter().map(|j| row * N + j).filter(|&at| z[at] > 0.0).collect();
            order.sort_by(|&a, &b| z[b].total_cmp(&z[a]));
            order.into_iter().take(k).for_each(|at| of_row[at] = z[at]);
            let made = |i: usize| (0..N).map(|j| of_row[row * N + j] * p.w_dec[j * D + i]).sum::<f64>();
            sum += (0..D).map(|i| (e[i] - made(i)).powi(2)).sum::<f64>();
        }
        sum / (ROWS as f64 * self.norm)
    }

    pub fn loss(&self, p: &Learned) -> f64 {
        let (config, z) = (self.config, self.z(p));
        let y = self.y(p, &z, config.k);
        let all = [N];
        let prefixes = if config.prefixes.is_empty() { &all[..] } else { &config.prefixes };
        let mut loss = 0.0;
        for (at, &prefix) in prefixes.iter().enumerate() {
            let weight = config.prefix_weights.get(at).map_or(1.0 / prefixes.len() as f64, |&weight| weight.into());
            loss += weight * self.squares(p, &p.skip, &y, prefix);
        }
        for &k in &config.budgets {
            loss += self.squares(p, &p.skip, &self.y(p, &z, k), N);
        }
        if let (Some(revive), (dead, weight)) = (config.revive, &self.dead) {
            loss += weight * self.revived(p, &z, dead, revive.k);
        }
        if let Some(Multi { times, weight }) = config.multi {
            loss += f64::from(weight) * self.squares(p, &p.skip, &self.y(p, &z, times * config.k), N);
        }
        if let Variant::Switch(Switch { experts, balance }) = config.variant {
            loss += f64::from(balance) * self.balance(p, experts);
        }
        let found: Vec<f64> = z.iter().map(|z| z.max(0.0)).collect();
        match &config.variant {
            Variant::Gated(Gated { detached, sparsity }) => {
                // What a detached reconstruction takes of the encoder's centre is learned, what it adds at the end is not.
                let mut decoder = p.clone();
                if *detached {
                    (decoder.w_dec, decoder.b_dec) = (self.fixed.w_dec.clone(), self.fixed.b_dec.clone());
                }
                loss += self.squares(&decoder, &p.skip, &found, N) + self.cost(sparsity, p, &found);
            }
            variant => loss += variant.sparsity().map_or(0.0, |sparsity| self.cost(sparsity, p, &y)),
        }
        loss
    }
}
