/// A part of the weights of a Mamba.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The table that tokens are read by, and written by if the model has no other.
    Embedding,
    /// The norm after all layers.
    Norm,
    /// The table that tokens are written by.
    Output,
    /// The norm before the mixer of a layer.
    MixerNorm(usize),
    /// What makes channels and gates: `in_proj`.
    MixerInput(usize),
    /// Their biases.
    MixerInputBias(usize),
    /// The convolution: `conv1d`.
    Taps(usize),
    /// Its bias.
    TapsBias(usize),
    /// What makes steps, and what goes into and comes out of states: `x_proj`.
    Select(usize),
    /// What spreads steps over channels: `dt_proj`.
    Step(usize),
    /// Its bias.
    StepBias(usize),
    /// Logarithms of what states decay by: `A_log`.
    Decay(usize),
    /// What goes past the states: `D`.
    Skip(usize),
    /// What brings channels back: `out_proj`.
    MixerOutput(usize),
    /// Its bias.
    MixerOutputBias(usize),
}

impl Part {
    /// Those of a layer, in the order of their numbers.
    pub(super) fn of_layer(layer: usize) -> [Self; 12] {
        let all: [fn(usize) -> Self; 12] = [
            Self::MixerNorm,
            Self::MixerInput,
            Self::MixerInputBias,
            Self::Taps,
            Self::TapsBias,
            Self::Select,
            Self::Step,
            Self::StepBias,
            Self::Decay,
            Self::Skip,
            Self::MixerOutput,
            Self::MixerOutputBias,
        ];
        all.map(|part| part(layer))
    }

    /// The number of its gradient on a tape.
    pub fn number(self) -> usize {
        let (layer, place) = match self {
            Self::Embedding => return 0,
            Self::Norm => return 1,
            Self::Output => return 2,
            Self::MixerNorm(layer) => (layer, 0),
            Self::MixerInput(layer) => (layer, 1),
            Self::MixerInputBias(layer) => (layer, 2),
            Self::Taps(layer) => (layer, 3),
            Self::TapsBias(layer) => (layer, 4),
            Self::Select(layer) => (layer, 5),
            Self::Step(layer) => (layer, 6),
            Self::StepBias(layer) => (layer, 7),
            Self::Decay(layer) => (layer, 8),
            Self::Skip(layer) => (layer, 9),
            Self::MixerOutput(layer) => (layer, 10),
            Self::MixerOutputBias(layer) => (layer, 11),
        };
        3 + 12 * layer + place
    }

    /// Its layer.
    pub fn layer(self) -> Option<usize> {
        (self.number() >= 3).then(|| (self.number() - 3) / 12)
    }

    /// Whether it is a bias.
    pub fn is_bias(self) -> bool {
        matches!(self, Self::MixerInputBias(_) | Self::TapsBias(_) | Self::StepBias(_) | Self::MixerOutputBias(_))
    }

    /// Whether it is one row.
    pub fn is_vector(self) -> bool {
        self.is_bias() || matches!(self, Self::Norm | Self::MixerNorm(_) | Self::Skip(_))
    }

    /// Whether it is kept in the type of sums, which is wider where elements are of 16 bits.
    pub fn is_wide(self) -> bool {
        self.is_vector() || matches!(self, Self::Taps(_) | Self::Decay(_))
    }

    /// Whether weight decay is customary: not for what states decay by, nor for vectors.
    pub fn decays(self) -> bool {
        !self.is_vector() && !matches!(self, Self::Decay(_))
    }

    /// Its name in files of Hugging Face.
    pub fn name(self) -> String {
        let of_layer = match self {
            Self::Embedding => return "backbone.embeddings.weight".into(),
            Self::Norm => return "backbone.norm_f.weight".into(),
            Self::Output => return "lm_head.weight".into(),
            Self::MixerNorm(_) => "norm.weight",
            Self::MixerInput(_) => "mixer.in_proj.weight",
            Self::MixerInputBias(_) => "mixer.in_proj.bias",
            Self::Taps(_) => "mixer.conv1d.weight",
            Self::TapsBias(_) => "mixer.conv1d.bias",
            Self::Select(_) => "mixer.x_proj.weight",
            Self::Step(_) => "mixer.dt_proj.weight",
            Self::StepBias(_) => "mixer.dt_proj.bias",
            Self::Decay(_) => "mixer.A_log",
            Self::Skip(_) => "mixer.D",
            Self::MixerOutput(_) => "mixer.out_proj.weight",
            Self::MixerOutputBias(_) => "mixer.out_proj.bias",
        };
        format!("backbone.layers.{}.{of_layer}", self.layer().unwrap_or_default())
    }

    /// Its sizes there, where it has these here.
    pub(super) fn file_dims(self, [rows, columns]: [usize; 2]) -> Vec<usize> {
        match self {
            Self::Taps(_) => vec![rows, 1, columns],
            _ if self.is_vector() => vec![columns],
            _ => vec![rows, columns],
        }
    }
}
