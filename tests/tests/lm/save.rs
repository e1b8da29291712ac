//! Models written and read back; files of others.
use crate::models::{configs, ids, model};
use latens::io::safetensors::Safetensors;
use latens::lm::{Config, Decoder, Hooks, Mlp, Positions};
use latens::tape::Rotary;
use latens::{Act, Device, Float, Pairing, Tensor, bf16};
use latens_tests::close;
use latens_tests::files::folder;
use std::fs;
use std::path::{Path, PathBuf};

pub const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

fn logits<T: Float>(model: &Decoder<T>) -> Vec<T> {
    let ids = model.ids(ids(12), 2).unwrap();
    model.logits(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap()
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn there_and_back<T: Float>(folder: &Path, config: &Config) {
    let model = model::<T>(config, &Device::Host);
    let back = |what: &str| {
        let back = Decoder::<T>::open(folder, &Device::Host).unwrap();
        assert_eq!(back.config(), config, "{what}");
        let same = logits(&model).iter().zip(logits(&back)).all(|(a, b)| a.wide().to_bits() == b.wide().to_bits());
        assert!(same, "{what}");
    };
    model.save(folder).unwrap();
    assert_eq!(names(folder), ["config.json", "model.safetensors"]);
    back("one file");
    let before = fs::read(folder.join("model.safetensors")).unwrap();
    model.save_sharded(folder, 6_000).unwrap();
    let shards = names(folder);
    assert!(shards.len() > 4 && !shards.contains(&"model.safetensors".to_owned()), "{shards:?}");
    for shard in shards.iter().filter(|name| name.starts_with("model-")) {
        let file = Safetensors::open(&folder.join(shard)).unwrap();
        let bytes: usize = file.tensors().values().map(|entry| entry.dims.iter().product::<usize>()).sum();
        assert!(bytes * size_of::<T>() <= 6_000 || file.tensors().len() == 1, "{shard}");
    }
    back("shards");
    model.save_sharded(folder, 16_000).unwrap();
    assert!(names(folder).len() < shards.len(), "those of the earlier save are gone");
    back("larger shards");
    model.save(folder).unwrap();
    assert_eq!(names(folder), ["config.json", "model.safetensors"]);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), before, "the same bytes again");
}

#[test]
fn what_is_saved_is_read() {
    for (name, config) in configs() {
        let folder = folder(ROOT, &format!("lm-save-{name}"));
        there_and_back::<f32>(&folder, &config);
        there_and_back::<f64>(&folder, &config);
        there_and_back::<bf16>(&folder, &config);
    }
}

/// A seed is a model, bit by bit; its numbers are spread as they should be.
#[test]
fn random_models_are_their_seeds() {
    let config = Config::gpt2(2, 64, 4, 500, 32);
    let new = |seed| Decoder::<f32>::random(config.clone(), seed, &Device::Host).unwrap();
    assert_eq!(logits(&new(3)), logits(&new(3)));
    assert_ne!(logits(&new(3)), logits(&new(4)));
    let deviation = |view: latens::View<'_, f32, 2>| {
        let mut copy = Tensor::empty(view.dims(), &Device::Host).unwrap();
        latens::copy_into(view, copy.view_mut()).unwrap();
        let all = copy.to_vec().unwrap();
        let mean = all.iter().map(|&x| f64::from(x)).sum::<f64>() / all.len() as f64;
        let squares = all.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
        (mean, (squares / all.len() as f64).sqrt())
    };
    let mut firsts = vec![];
    for parameter in new(3).parameters() {
        let name = parameter.names[0].clone();
        let (latens::lm::Values::Elements(values) | latens::lm::Values::Sums(values)) = parameter.values;
        let (mean, got) = deviation(values);
        if parameter.decays {
            let want = if name.ends_with("c_proj.weight") { 0.01 } else { 0.02 };
            assert!((got / want - 1.0).abs() < 0.05 && mean.abs() < want * 0.05, "{name}: {mean} and {got}");
            firsts.push(got.to_bits());
        } else {
            assert_eq!((mean, got), (if name.ends_with("bias") { 0.0 } else { 1.0 }, 0.0), "{name}");
        }
    }
    let all = firsts.len();
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts.len(), all, "no part is another again");
    let numbers = new(3).parameters().iter().map(|parameter| parameter.dims[0] * parameter.dims[1]).sum::<usize>();
    assert_eq!(numbers, config.count());
    let wrong = Decoder::<f32>::random(Config { heads: 3, kv_heads: 2, ..config }, 0, &Device::Host).err().unwrap();
    assert!(wrong.to_string().contains("3 heads of 16 over 2"), "{wrong}");
}

/// A Llama that turns neighbours, as llama.cpp's do, is written as one that turns halves.
#[test]
fn neighbours_become_halves() {
    let folder = folder(ROOT, "lm-save-neighbours");
    let (_, halves) = &configs()[2];
    let positions = Positions::Rotary(Rotary { base: 10_000.0, pairing: Pairing::Interleaved, dim: 4 });
    let ours = model::<f64>(&Config { positions, ..halves.clone() }, &Device::Host);
    ours.save(&folder).unwrap();
    let back = Decoder::<f64>::open(&folder, &Device::Host).unwrap();
    assert_eq!(back.config(), halves);
    close("logits", &logits(&back), &logits(&ours), 1e-24);
    // No family has all of these.
    for config in [
        Config { parallel: true, ..halves.clone() },
        Config { mlp: Mlp::Gated(Act::Silu), ..configs()[3].1.clone() },
        Config { mlp_bias: false, ..configs()[5].1.clone() },
    ] {
        let said = Decoder::<f32>::random(config, 0, &Device::Host).unwrap().save(&folder).err().unwrap().to_string();
        assert!(said.contains("no family"), "{said}");
    }
}

/// Write a model of configuration `at` of the list, and give its folder.
pub fn saved(at: usize, name: &str) -> PathBuf {
    let folder = folder(ROOT, name);
    model::<f32>(&configs()[at].1, &Device::Host).save(&folder).unwrap();
    folder
}

pub fn refused(folder: &Path) -> String {
    Decoder::<f32>::open(folder, &Device::Host).err().unwrap().to_string()
}

/// Write the tensors of a file anew, changed.
fn change(folder: &Path, with: impl Fn(&str) -> Option<String>, also: &[(&str, &[usize], f32)]) {
    use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let kept = all.iter().filter_map(|(name, view)| Some((with(name)?, view)));
    let more: Vec<Vec<u8>> = also.iter().map(|(_, dims, x)| x.to_le_bytes().repeat(dims.iter().product())).collect();
    let more = also.iter().zip(&more).map(|((name, dims, _), bytes)| {
        ((*name).to_owned(), TensorView::new(Dtype::F32, dims.to_vec(), bytes).unwrap())
    });
    let all: Vec<_> = kept.chain(more).collect();
    fs::write(path, serialize(all, None).unwrap()).unwrap();
}

/// The first GPT-2 checkpoints have no `transformer.` before names, and buffers beside the weights.
#[test]
fn first_checkpoints_of_gpt2_are_read() {
    let folder = saved(3, "lm-save-bare");
    let before = logits(&Decoder::<f32>::open(&folder, &Device::Host).unwrap());
    let bare = |name: &str| Some(name.trim_start_matches("transformer.").to_owned());
    change(&folder, bare, &[("h.0.attn.bias", &[1, 1, 16, 16], 1.0), ("h.1.attn.masked_bias", &[1], -1e4)]);
    assert_eq!(logits(&Decoder::<f32>::open(&folder, &Device::Host).unwrap()), before);
    // A second table beside one that is said to serve both ways.
    change(&folder, |name| Some(name.to_owned()), &[("lm_head.weight", &[50, 24], 0.5)]);
    assert!(refused(&folder).contains("tables for reading and for writing differ"));
}

#[test]
fn tensors_too_many_or_too_few_are_errors() {
    let folder = saved(5, "lm-save-tensors");
    change(&folder, |name| Some(name.to_owned()), &[("gpt_neox.layers.3.mlp.dense_h_to_4h.bias", &[1], 0.0)]);
    assert!(refused(&folder).contains("layers.3.mlp.dense_h_to_4h.bias has no place in this model"));
    change(&folder, |name| (!name.contains("layers.3") && !name.contains("embed_out")).then(|| name.to_owned()), &[]);
    assert!(refused(&folder).contains("no tensor embed_out.weight"));
    change(&folder, |name| Some(name.to_owned()), &[("embed_out.weight", &[32, 50], 0.0)]);
    assert!(refused(&folder).contains("sizes [32, 50], expected [50, 32]"));
}
