//! Small models of every family, in which every part matters.
use latens::lm::{Config, Decoder, Mlp, Positions, ValuesMut};
use latens::tape::Rotary;
use latens::{Act, Device, Float, Pairing, Tensor, copy_into};
use latens_tests::normal;

/// One of each family, and one of each choice that no other has.
pub fn configs() -> Vec<(&'static str, Config)> {
    let llama = Config { hidden: 40, kv_heads: 2, ..Config::llama(2, 24, 6, 50, 16) };
    let gpt2 = Config { hidden: 36, ..Config::gpt2(2, 24, 6, 50, 16) };
    let neox = Config { hidden: 44, ..Config::neox(3, 32, 4, 50, 16) };
    let turned = Positions::Rotary(Rotary { base: 500.0, pairing: Pairing::Halves, dim: 6 });
    vec![
        ("llama", llama.clone()),
        ("llama-wide", Config { head_dim: 8, positions: turned_all(8), tied: false, ..llama.clone() }),
        ("llama-biased", Config { attention_bias: true, mlp_bias: true, ..llama }),
        ("gpt2", gpt2.clone()),
        ("gpt2-untied", Config { mlp: Mlp::Plain(Act::Gelu), tied: false, ..gpt2 }),
        ("neox", neox.clone()),
        ("neox-serial", Config { parallel: false, attention_bias: false, tied: true, positions: turned, ..neox }),
    ]
}

fn turned_all(dim: usize) -> Positions {
    Positions::Rotary(Rotary { base: 10_000.0, pairing: Pairing::Halves, dim })
}

/// A model of random weights; norms are near 1, biases near 0, all of them differ.
pub fn model<T: Float>(config: &Config, device: &Device) -> Decoder<T> {
    let mut model = Decoder::random(config.clone(), 0, device).unwrap();
    for parameter in model.parameters_mut() {
        let (count, seed) = (parameter.dims.iter().product(), parameter.number as u64);
        let centre = if parameter.part.is_vector() && !parameter.part.is_bias() { 1.0 } else { 0.0 };
        let numbers: Vec<f64> = normal(count, 0.3, seed);
        let (numbers, dims) = (numbers.iter().map(|x| centre + x), parameter.dims);
        match parameter.values {
            ValuesMut::Elements(to) => {
                let from = Tensor::from_vec(numbers.map(T::narrow).collect(), dims, device).unwrap();
                copy_into(from.view(), to).unwrap();
            }
            ValuesMut::Sums(to) => {
                let from = Tensor::from_vec(numbers.map(T::Acc::narrow).collect(), dims, device).unwrap();
                copy_into(from.view(), to).unwrap();
            }
        }
    }
    model
}

/// Tokens of a context.
pub fn ids(count: u32) -> Vec<u32> {
    (0..count).map(|i| i * 17 % 50).collect()
}
