//! MiniLM gives the values known of it, and a small BERT those of numpy, on every device and whatever stands beside a text.
use crate::parity::agrees;
use crate::save::names;
use latens::io::safetensors::Safetensors;
use latens::lm::bert::{Config, Encoder, Pooling, TextEncoder};
use latens::lm::{Hooks, Site};
use latens::{Device, Float, Tensor, assets, bf16};
use latens_tests::files::folder;
use latens_tests::{close, devices, normal, place, real};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

fn config() -> Value {
    json!({
        "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 24, "intermediate_size": 40,
        "num_attention_heads": 3, "vocab_size": 50, "max_position_embeddings": 16, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    })
}

/// A small BERT of random weights in f64, and a head on top of it.
fn small(name: &str, before: &str) -> PathBuf {
    let folder = folder(ROOT, name);
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![50, 24]),
        ("embeddings.position_embeddings.weight".into(), vec![16, 24]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, 24]),
        ("embeddings.LayerNorm.weight".into(), vec![24]),
        ("embeddings.LayerNorm.bias".into(), vec![24]),
    ];
    for layer in 0..2 {
        for (name, rows, columns) in [
            ("attention.self.query", 24, 24),
            ("attention.self.key", 24, 24),
            ("attention.self.value", 24, 24),
            ("attention.output.dense", 24, 24),
            ("intermediate.dense", 40, 24),
            ("output.dense", 24, 40),
        ] {
            shapes.push((format!("encoder.layer.{layer}.{name}.weight"), vec![rows, columns]));
            shapes.push((format!("encoder.layer.{layer}.{name}.bias"), vec![rows]));
        }
        for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
            shapes.push((format!("encoder.layer.{layer}.{name}.weight"), vec![24]));
            shapes.push((format!("encoder.layer.{layer}.{name}.bias"), vec![24]));
        }
    }
    shapes.extend([("pooler.dense.weight".into(), vec![24, 24]), ("pooler.dense.bias".into(), vec![24])]);
    write(&folder, &shapes.iter().map(|(name, dims)| (format!("{before}{name}"), dims.clone())).collect::<Vec<_>>());
    fs::write(folder.join("config.json"), config().to_string()).unwrap();
    folder
}

fn write(folder: &Path, shapes: &[(String, Vec<usize>)]) {
    let numbers = |(seed, (name, dims)): (usize, &(String, Vec<usize>))| -> Vec<u8> {
        let centre = if name.contains("LayerNorm.weight") { 1.0 } else { 0.0 };
        let all: Vec<f64> = normal(dims.iter().product(), 0.3, seed as u64);
        all.into_iter().flat_map(|x| (x + centre).to_le_bytes()).collect()
    };
    let bytes: Vec<Vec<u8>> = shapes.iter().enumerate().map(numbers).collect();
    let views = shapes
        .iter()
        .zip(&bytes)
        .map(|((name, dims), bytes)| (name.clone(), TensorView::new(Dtype::F64, dims.clone(), bytes).unwrap()));
    fs::write(folder.join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
}

fn ids(count: u32) -> Vec<u32> {
    (0..count).map(|i| i * 17 % 50).collect()
}

fn hidden<T: Float>(model: &Encoder<T>, ids: &[u32], batch: usize) -> Vec<T> {
    let ids = model.ids(ids.to_vec(), batch).unwrap();
    model.hidden(&ids, None, &mut Hooks::new()).unwrap().to_vec().unwrap()
}

#[test]
fn numpy_gives_the_same() {
    let folder = small("lm-bert", "");
    let model = Encoder::<f64>::open(&folder, &Device::Host).unwrap();
    agrees(&folder, &ids(12), &hidden(&model, &ids(12), 1));
}

/// The tensors in `folder`, by name, with their sizes and bits.
fn tensors<T: Float>(folder: &Path) -> Vec<(String, Vec<usize>, Vec<u64>)> {
    let file = Safetensors::open(folder).unwrap();
    let bits = |name: &str, dims: &[usize]| -> Vec<u64> {
        file.read_as::<T>(name, dims).unwrap().into_iter().map(|x| x.wide().to_bits()).collect()
    };
    file.tensors().iter().map(|(name, entry)| (name.clone(), entry.dims.clone(), bits(name, &entry.dims))).collect()
}

/// What is saved, in one file and in several, is read as it was.
fn there_and_back<T: Float>(model: &Encoder<T>, folder: &Path, most: usize) {
    let exact = |model: &Encoder<T>| hidden(model, &ids(12), 2).into_iter().map(|x| x.wide().to_bits());
    model.save(folder).unwrap();
    assert_eq!(names(folder), ["config.json", "model.safetensors"]);
    let whole = tensors::<T>(folder);
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    for sharded in [false, true] {
        if sharded {
            model.save_sharded(folder, most).unwrap();
            let names = names(folder);
            assert!(names.len() > 4 && !names.contains(&"model.safetensors".to_owned()), "{names:?}");
            assert!(tensors::<T>(folder) == whole);
        }
        let back = Encoder::<T>::open(folder, &Device::Host).unwrap();
        assert_eq!(back.config(), model.config());
        assert!(exact(&back).eq(exact(model)));
        back.save(folder).unwrap();
        assert!(fs::read(folder.join("model.safetensors")).unwrap() == bytes, "the same bytes again");
    }
}

#[test]
fn what_is_saved_is_read_and_numpy_agrees() {
    // One has a name before all names, and another activation and epsilon than is usual.
    for (name, before, act, eps) in
        [("lm-bert-save", "", "gelu", 1e-12), ("lm-bert-save-other", "bert.", "gelu_new", 1e-5)]
    {
        let from = small(name, before);
        let mut json = config();
        (json["hidden_act"], json["layer_norm_eps"]) = (json!(act), json!(eps));
        fs::write(from.join("config.json"), json.to_string()).unwrap();
        let to = folder(ROOT, &format!("{name}-to"));
        there_and_back(&Encoder::<f32>::open(&from, &Device::Host).unwrap(), &to, 6_000);
        there_and_back(&Encoder::<bf16>::open(&from, &Device::Host).unwrap(), &to, 6_000);
        let model = Encoder::<f64>::open(&from, &Device::Host).unwrap();
        there_and_back(&model, &to, 6_000);
        // Every number is that of the file it came from; what is beyond the encoder is not kept.
        let bare = tensors::<f64>(&from)
            .into_iter()
            .filter(|(name, ..)| !name.contains("pooler."))
            .map(|(name, dims, bits)| (name.strip_prefix(before).unwrap().to_owned(), dims, bits));
        assert!(bare.eq(tensors::<f64>(&to)));
        let said: Value = serde_json::from_slice(&fs::read(to.join("config.json")).unwrap()).unwrap();
        for (key, value) in json.as_object().unwrap() {
            assert_eq!(&said[key], value, "{key}");
        }
        let hidden = hidden(&model, &ids(12), 1);
        agrees(&to, &ids(12), &hidden);
        fs::remove_file(to.join("expected.safetensors")).unwrap();
        model.save_sharded(&to, 9_000).unwrap();
        agrees(&to, &ids(12), &hidden);
    }
}

/// A real one: its tensors are those of its file, and its configuration says what its own says.
#[test]
fn minilm_is_saved_as_it_was() {
    let Some(path) = real(&assets::MINILM) else { return };
    let model = Encoder::<f32>::open(&path, &Device::Host).unwrap();
    let to = folder(ROOT, "lm-bert-save-minilm");
    there_and_back(&model, &to, 10_000_000);
    let kept = tensors::<f32>(&to);
    let file = Safetensors::open(&path).unwrap();
    for (name, dims, bits) in &kept {
        let want = file.read(name, dims).unwrap();
        assert!(want.iter().zip(bits).all(|(x, bits)| x.wide().to_bits() == *bits), "{name}");
    }
    let beyond = file.tensors().keys().filter(|name| !kept.iter().any(|(of, ..)| of == *name));
    assert!(beyond.into_iter().all(|name| name.starts_with("pooler.") || name.ends_with("position_ids")));
    let [theirs, ours] = [&path, &to]
        .map(|folder| -> Value { serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap() });
    for (key, ours) in ours.as_object().unwrap() {
        // Of what version wrote it, the older ones name no type.
        assert!(&theirs[key] == ours || theirs.get(key).is_none(), "{key}: {} and {ours}", theirs[key]);
    }
    fs::remove_dir_all(to).unwrap();
}

#[test]
fn every_device_agrees() {
    let folder = small("lm-bert-devices", "bert.");
    let exact = hidden(&Encoder::<f64>::open(&folder, &Device::Host).unwrap(), &ids(12), 2);
    for device in devices() {
        let model = Encoder::<f32>::open(&folder, &device).unwrap();
        close(place(&device), &hidden(&model, &ids(12), 2), &exact, 1e-9);
        // Together, apart, in another order: a text is the same.
        let texts = [ids(5), ids(12), vec![7], ids(12), ids(4)];
        for pooling in [Pooling::Mean, Pooling::First] {
            let all = model.embed(&texts, pooling).unwrap().to_vec().unwrap();
            for (text, got) in texts.iter().zip(all.chunks(24)) {
                let alone = model.embed(std::slice::from_ref(text), pooling).unwrap().to_vec().unwrap();
                close("alone", got, &alone, 1e-11);
                let x = hidden(&model, text, 1);
                let count = if pooling == Pooling::Mean { text.len() } else { 1 };
                let mut mean = vec![0.0_f64; 24];
                x.chunks(24).take(count).for_each(|x| mean.iter_mut().zip(x).for_each(|(m, x)| *m += f64::from(*x)));
                let length = mean.iter().map(|m| m * m).sum::<f64>().sqrt();
                mean.iter_mut().for_each(|m| *m /= length);
                close("pooled", got, &mean, 1e-11);
            }
        }
        assert_eq!(model.embed(&[], Pooling::Mean).unwrap().dims(), [0, 24]);
        assert!(
            model.embed(&[vec![1], vec![]], Pooling::Mean).err().unwrap().to_string().contains("text 1 has no tokens")
        );
    }
}

#[test]
fn kinds_hooks_and_limits() {
    let model = Encoder::<f64>::open(&small("lm-bert-hooks", ""), &Device::Host).unwrap();
    let batch = model.ids(ids(12), 2).unwrap();
    let plain = hidden(&model, &ids(12), 2);
    let kinds = |kinds: Vec<u32>, t| Tensor::from_vec(kinds, [2, t], &Device::Host).unwrap();
    let with = |of: &Tensor<u32, 2>| model.hidden(&batch, Some(of), &mut Hooks::new()).map(|x| x.to_vec().unwrap());
    assert_eq!(with(&kinds(vec![0; 12], 6)).unwrap(), plain);
    let second = with(&kinds([vec![0; 6], vec![1; 6]].concat(), 6)).unwrap();
    assert!(second[..6 * 24] == plain[..6 * 24] && second[6 * 24..] != plain[6 * 24..]);
    assert!(with(&kinds(vec![2; 12], 6)).is_err() && with(&kinds(vec![0; 10], 5)).is_err());
    for site in [Site::attention(0), Site::mlp(1), Site::residual(1)] {
        let mut seen = vec![];
        let mut hooks = Hooks::new().at(site, |x: &mut Tensor<f64, 2>| {
            seen = x.to_vec()?;
            Ok(latens::scale_into(0.5, x.view_mut())?)
        });
        assert_ne!(model.hidden(&batch, None, &mut hooks).unwrap().to_vec().unwrap(), plain, "{site:?}");
        drop(hooks);
        let there = model.activations(&batch, None, site, &mut Hooks::new()).unwrap();
        assert_eq!(there.to_vec().unwrap(), seen, "{site:?}");
    }
    assert!(model.activations(&batch, None, Site::mixer(0), &mut Hooks::new()).is_err());
    assert!(model.activations(&batch, None, Site::mlp(2), &mut Hooks::new()).is_err());
    assert!(model.ids(vec![50], 1).err().unwrap().to_string().contains("50 is no token"));
    let long = model.ids(vec![1; 17], 1).unwrap();
    let said = model.hidden(&long, None, &mut Hooks::new()).err().unwrap().to_string();
    assert!(said.contains("17 tokens, but the model takes 16"), "{said}");
    let none = model.ids(vec![], 3).unwrap();
    assert_eq!(model.hidden(&none, None, &mut Hooks::new()).unwrap().dims(), [0, 24]);
}

#[test]
fn files_that_lie_are_errors() {
    let folder = small("lm-bert-lies", "");
    let cases = [
        ("model_type", json!("roberta"), "family \"roberta\""),
        ("position_embedding_type", json!("relative_key"), "position_embedding_type is"),
        ("is_decoder", json!(true), "is_decoder is true"),
        ("hidden_act", json!("relu"), "\"relu\""),
        ("num_attention_heads", json!(5), "does not divide into 5 heads"),
        ("num_attention_heads", json!(0), "heads is 0"),
        ("num_hidden_layers", json!(3), "3 layers cannot be"),
        ("num_hidden_layers", json!(1), "has no place in this model"),
        ("hidden_size", json!(u64::MAX), "dim is"),
        ("max_position_embeddings", json!(17), "expected [17, 24]"),
        ("layer_norm_eps", json!(-1), "epsilon -1"),
    ];
    for (key, value, what) in cases {
        let mut other = config();
        other[key] = value.clone();
        fs::write(folder.join("config.json"), other.to_string()).unwrap();
        let said = Encoder::<f32>::open(&folder, &Device::Host).err().unwrap().to_string();
        assert!(said.contains(what), "{key} {value}: {said}");
    }
    let wrong = Config::from_json(&folder.join("none.json")).unwrap_err().to_string();
    assert!(wrong.contains("none.json"), "{wrong}");
}

/// The figures that are known of all-MiniLM-L6-v2.
#[test]
fn golden_sentences() {
    let Some(path) = real(&assets::MINILM) else { return };
    let encoder = TextEncoder::open(&path, &Device::Host).unwrap();
    let embed = |text: &str| encoder.embed(&[text], Pooling::Mean).unwrap().to_vec().unwrap();
    let cosine = |a: &str, b: &str| embed(a).iter().zip(embed(b)).map(|(a, b)| a * b).sum::<f32>();
    assert_eq!(
        encoder.tokenizer.encode("This is an example sentence").unwrap(),
        [101, 2023, 2003, 2019, 2742, 6251, 102]
    );
    let want = [0.067_656_89, 0.063_495_91, 0.048_713_11, 0.079_304_97, 0.037_448_05, 0.002_652_8];
    let got = embed("This is an example sentence");
    assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{:?}", &got[..6]);
    let eating = "A man is eating food.";
    for (other, want) in [("Someone is having a meal.", 0.6888), ("The stock market crashed today.", 0.0088)] {
        let got = cosine(eating, other);
        assert!((got - want).abs() < 1e-4, "{other}: {got}");
    }
    assert!((cosine("Abnormally short fingers", "Brachydactyly") - 0.136).abs() < 1e-3);
    // Accents and case are not read; a word that is not known is several pieces; a long text loses its end.
    assert_eq!(encoder.tokenizer.encode("CAFÉ").unwrap(), encoder.tokenizer.encode("cafe").unwrap());
    // 510 words, and what says that the text begins and ends.
    assert_eq!(embed(&"food ".repeat(2000)), embed(&"food ".repeat(510)));
    assert_ne!(embed(&"food ".repeat(509)), embed(&"food ".repeat(510)));
}
