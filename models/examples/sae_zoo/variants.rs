//! What is in the zoo: every kind of autoencoder, each at two sparsities.
use latens::sae::{
    Anneal, Config, Cost, Decoder, Gated, Jump, Multi, Normalise, Nudge, Revive, Sparsity, Switch, Transcode, Variant,
};

/// What a run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The residual after a layer.
    Residual,
    /// The same, and in the end what the model makes of the reconstruction.
    Through,
    /// What an MLP reads, and predicts what it adds.
    Mlp,
    /// The residuals after all layers, side by side.
    All,
}

/// A run: a variant at one sparsity.
pub struct Run {
    /// Its kind, for the picture.
    pub kind: &'static str,
    /// Kind and sparsity, for files.
    pub name: String,
    pub reads: Reads,
    pub config: Config,
}

/// What all runs of a place share.
pub struct Base {
    pub d: usize,
    pub latents: usize,
    pub batch: usize,
    pub steps: usize,
    /// Steps through the model.
    pub through: usize,
    /// Rows of a context.
    pub context: usize,
    pub rate: f32,
    pub seed: u64,
    /// Residuals that lie side by side in a crosscoder.
    pub sides: usize,
}

impl Base {
    fn config(&self, k: usize) -> Config {
        // Dead after a third of the run, as there is little text.
        let after = (self.batch * self.steps / 3).max(self.batch) as u32;
        Config {
            batch: self.batch,
            rate: self.rate,
            revive: Some(Revive::new(1.0 / 32.0, 2 * k, after)),
            seed: self.seed,
            ..Config::new(self.d, self.latents, k, self.steps)
        }
    }

    fn sparsity(&self, weight: f32, cost: Cost, by_length: bool) -> Sparsity {
        Sparsity { weight, cost, warm: self.steps / 10, by_length, anneal: None }
    }

    /// Every run. Weights of penalties and first biases follow from trials at the middle one of three layers, for about 25 and 75 active latents
    /// in a residual of 576; at other layers there may be half or twice as many.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for k in [24, 72] {
            self.counted(k, &mut runs);
        }
        for dense in [false, true] {
            self.penalised(dense, &mut runs);
        }
        runs
    }

    /// Those that keep `k` latents.
    fn counted(&self, k: usize, runs: &mut Vec<Run>) {
        let mut add = |kind, reads, config| runs.push(Run { kind, name: format!("{kind}-{k}"), reads, config });
        // So few steps leave a threshold no time to be a mean of many.
        let plain = Config { threshold_decay: 0.5, ..self.config(k) };
        let of = |variant| Config { variant, ..plain.clone() };
        add("topk", Reads::Residual, of(Variant::TopK));
        add("batchtopk", Reads::Residual, of(Variant::BatchTopK));
        add("groupmax", Reads::Residual, of(Variant::GroupMax));
        let multi = Some(Multi { times: 4, weight: 0.125 });
        add("multi-topk", Reads::Residual, Config { multi, ..of(Variant::TopK) });
        let switch = Variant::Switch(Switch { experts: 4, balance: 3.0 });
        add("switch", Reads::Residual, Config { revive: None, ..of(switch) });
        let n = self.latents;
        let prefixes = vec![n / 16, n / 8, n / 4, n / 2, n];
        add("matryoshka", Reads::Residual, Config { prefixes, ..of(Variant::BatchTopK) });
        let transcode = |skip| Config {
            transcode: Some(Transcode { skip }),
            centred: false,
            decoder: Decoder::Free,
            ..of(Variant::TopK)
        };
        add("transcoder", Reads::Mlp, transcode(false));
        add("skip-transcoder", Reads::Mlp, transcode(true));
        // In the end on what the model loses, for which a step is of whole contexts.
        let batch = (self.batch / self.context).max(1) * self.context;
        let through = Config { batch, steps: self.steps + self.through, ..of(Variant::TopK) };
        add("end-to-end", Reads::Through, through);
        let (d, sides) = (self.d * self.sides, self.sides);
        add("crosscoder", Reads::All, Config { d, sides, normalise: Normalise::Mean, ..of(Variant::BatchTopK) });
    }

    /// Those that a penalty makes sparse.
    fn penalised(&self, dense: bool, runs: &mut Vec<Run>) {
        // Few latents are active at first: with half of all, their sum is far too much, and takes long.
        let plain = Config { revive: None, bias: -2.0, ..self.config(72) };
        let end = if dense { "dense" } else { "sparse" };
        let mut add = |kind, [sparse, denser]: [f32; 2], of: &dyn Fn(f32) -> Config| {
            let config = of(if dense { denser } else { sparse });
            runs.push(Run { kind, name: format!("{kind}-{end}"), reads: Reads::Residual, config });
        };
        let l1 = |weight, by_length| self.sparsity(weight, Cost::Power(1.0), by_length);
        let free = |variant| Config { variant, decoder: Decoder::Free, centred: false, bias: 0.0, ..plain.clone() };
        add("relu", [2.4, 1.75], &|w| Config { variant: Variant::ReLU(l1(w, false)), ..plain.clone() });
        add("relu-lengths", [4.2, 2.3], &|w| free(Variant::ReLU(l1(w, true))));
        add("p-anneal", [2.1, 1.4], &|w| {
            let anneal = Some(Anneal { to: 0.5, from_step: self.steps / 2, turns: 10 });
            Config { variant: Variant::ReLU(Sparsity { anneal, ..l1(w, false) }), ..plain.clone() }
        });
        add("gated", [4.6, 2.3], &|w| Config {
            variant: Variant::Gated(Gated { sparsity: l1(w, false), detached: true }),
            ..plain.clone()
        });
        let jump = |sparsity| Variant::JumpReLU(Jump { sparsity, width: 0.5, start: 0.5, log: true });
        // Thresholds hardly move in so few steps: what is active at first counts.
        let begun = if dense { -1.2 } else { -2.0 };
        add("jumprelu", [8.0, 0.8], &|w| Config {
            variant: jump(self.sparsity(w, Cost::Count, false)),
            bias: begun,
            ..plain.clone()
        });
        let nudge = Some(Nudge { weight: 3e-6, after: (self.batch * self.steps / 3).max(self.batch) as u32 });
        // With free decoders, and half of all latents active at first, 86 % were dead in the end (layer 15, L0 23, FVU 0.252).
        add("jumprelu-tanh", [8.0, 0.8], &|w| Config {
            variant: jump(self.sparsity(w, Cost::Tanh(4.0), true)),
            bias: begun,
            nudge,
            ..plain.clone()
        });
    }
}
