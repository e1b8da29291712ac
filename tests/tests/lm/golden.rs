//! SmolLM2 gives the values that an independent numpy implementation gave, and hooks, caches and batches change nothing else.
use latens::lm::{Cache, Hooks, LanguageModel, Sampling, Site};
use latens::{Device, Tensor, add_into, assets};
use latens_tests::real;
use std::sync::OnceLock;

/// The model, read once; `None` without the asset.
fn smollm2() -> Option<&'static LanguageModel> {
    static MODEL: OnceLock<Option<LanguageModel>> = OnceLock::new();
    let open = || Some(LanguageModel::open(&real(&assets::SMOLLM2)?, &Device::Host).unwrap());
    MODEL.get_or_init(open).as_ref()
}

fn largest(logits: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut all: Vec<_> = logits.iter().copied().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(count);
    all
}

#[test]
fn golden_logits() {
    let Some(lm) = smollm2() else { return };
    type Case = (&'static str, &'static [u32], &'static [(&'static str, f32)]);
    let cases: [Case; 3] = [
        (
            "The capital of France is",
            &[504, 3575, 282, 4649, 314],
            &[(" Paris", 17.371), (" the", 14.889), (" London", 13.245), (" Le", 13.009), (" New", 12.952)],
        ),
        (
            "The heart pumps blood through the",
            &[504, 1911, 15_834, 1670, 738, 260],
            &[(" circulatory", 24.193), (" body", 24.177), (" bloodstream", 22.557)],
        ),
        (
            "Once upon a time, there was a little girl named",
            &[6403, 1980, 253, 655, 28, 665, 436, 253, 1838, 8180, 3365],
            &[(" Emma", 5.001)],
        ),
    ];
    for (text, ids, next) in cases {
        let got = lm.ids(text).unwrap();
        assert_eq!(got.to_vec().unwrap(), ids, "{text}");
        let logits = lm.model.next_logits(&got, &mut Hooks::new()).unwrap().to_vec().unwrap();
        for ((id, logit), (word, want)) in largest(&logits, next.len()).into_iter().zip(next) {
            assert_eq!(lm.tokenizer.text(id as u32), *word, "{text}");
            assert!((logit - want).abs() < 1e-2, "{text}{word}: {logit}, expected {want}");
        }
    }
}

#[test]
fn golden_residuals() {
    let Some(lm) = smollm2() else { return };
    let ids = lm.ids("The capital of France is").unwrap();
    for (layer, want) in [(0, 45.87), (5, 209.69), (15, 4675.43), (29, 1493.26)] {
        let x = lm.model.activations(&ids, Site::residual(layer), &mut Hooks::new()).unwrap().to_vec().unwrap();
        let lengths = x.chunks(576).map(|x| x.iter().map(|x| x * x).sum::<f32>().sqrt());
        let mean = lengths.sum::<f32>() / 5.0;
        assert!((mean / want - 1.0).abs() < 1e-3, "layer {layer}: {mean}, expected {want}");
    }
}

/// The first 512 tokens of a speech.
fn speech(lm: &LanguageModel) -> Option<Vec<u32>> {
    let text = std::fs::read_to_string(assets::SPEECHES.for_test()?.join("1981-Carter-1.txt")).unwrap();
    let start: String = text.chars().take(3000).collect();
    Some(lm.tokenizer.encode(&start).unwrap()[..512].to_vec())
}

#[test]
fn golden_perplexity() {
    let Some(lm) = smollm2() else { return };
    let Some(ids) = speech(lm) else { return };
    let losses = lm.model.losses(&lm.model.ids(ids, 1).unwrap(), &mut Hooks::new()).unwrap().to_vec().unwrap();
    assert_eq!(losses[511], 0.0);
    let perplexity = (losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / 511.0).exp();
    assert!((perplexity / 16.42 - 1.0).abs() < 5e-3, "{perplexity}");
}

#[test]
fn decoding_undoes_encoding() {
    let Some(lm) = smollm2() else { return };
    let text = "Déjà vu: 2026 × 12 = 24312 — naïve 你好 👩‍🚀!\n\n\tEnd  of   it.";
    let ids = lm.tokenizer.encode(text).unwrap();
    assert_eq!(lm.tokenizer.decode(&ids), text);
    let mut pieces = lm.tokenizer.pieces();
    let told: Vec<String> = ids.iter().map(|&id| pieces.push(id)).collect();
    assert_eq!(told.concat() + &pieces.finish(), text);
    assert!(told.iter().any(String::is_empty), "some character is spread over tokens");
    assert!(ids.iter().any(|&id| lm.tokenizer.text(id).contains("<0x")));
    // Digits one by one; special tokens by name.
    assert_eq!(lm.tokenizer.encode("24312").unwrap().len(), 5);
    assert_eq!(lm.tokenizer.encode("<|im_start|>").unwrap(), [1]);
    assert_eq!((lm.tokenizer.id("<|im_end|>"), lm.tokenizer.end()), (Some(2), Some(2)));
    let mut torn = lm.tokenizer.pieces();
    assert_eq!(torn.push(ids[1]) + &torn.finish(), lm.tokenizer.decode(&ids[1..2]));
}

fn close(a: &[f32], b: &[f32], limit: f64) {
    assert_eq!(a.len(), b.len());
    let error: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
    assert!(error <= limit * size, "normalised squared error {}", error / size);
}

#[test]
fn hooks_read_replace_and_add() {
    let Some(lm) = smollm2() else { return };
    let (model, ids) = (&lm.model, lm.ids("The heart pumps blood through the").unwrap());
    let clean = model.next_logits(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
    for site in [Site::attention(3), Site::mlp(3), Site::residual(3)] {
        // What is read on the way is what stopping there gives.
        let mut seen = vec![];
        let mut hooks = Hooks::new().at(site, |x| {
            seen = x.to_vec()?;
            *x = Tensor::from_vec(seen.clone(), x.dims(), &x.device())?; // itself in its own place
            Ok(())
        });
        let same = model.next_logits(&ids, &mut hooks).unwrap().to_vec().unwrap();
        drop(hooks);
        assert_eq!(same, clean, "{site:?}");
        let there = model.activations(&ids, site, &mut Hooks::new()).unwrap();
        assert_eq!(there.to_vec().unwrap(), seen, "{site:?}");
        // What is added is there for the next to read, and matters.
        let mut after = vec![];
        let mut hooks = Hooks::new().at(site, |x| Ok(add_into(there.view(), x.view_mut())?)).at(site, |x| {
            after = x.to_vec()?;
            Ok(())
        });
        let moved = model.next_logits(&ids, &mut hooks).unwrap().to_vec().unwrap();
        drop(hooks);
        assert!(after.iter().zip(&seen).all(|(after, seen)| *after == seen + seen), "{site:?}");
        assert_ne!(moved, clean, "{site:?}");
    }
}

#[test]
fn losses_go_on_from_a_layer() {
    let Some(lm) = smollm2() else { return };
    let (model, ids) = (&lm.model, lm.ids("The heart pumps blood through the").unwrap());
    for layer in [0, 15, 29] {
        let site = Site::residual(layer);
        let there = model.activations(&ids, site, &mut Hooks::new()).unwrap();
        // As they are, and changed: what a hook there does to the whole run.
        for factor in [1.0, -0.5] {
            let other = || {
                let x = there.to_vec().unwrap().into_iter().map(|x| factor * x).collect();
                Tensor::from_vec(x, there.dims(), model.device()).unwrap()
            };
            let mut hooks = Hooks::new().at(site, |x| {
                *x = other();
                Ok(())
            });
            let whole = model.losses(&ids, &mut hooks).unwrap().to_vec().unwrap();
            let mut seen = vec![];
            let mut hooks = Hooks::new().at(site, |_| panic!("the layer itself does not run again")).at(
                Site::attention(29),
                |_| {
                    seen.push(29);
                    Ok(())
                },
            );
            let rest = model.losses_from(layer, other(), &ids, &mut hooks).unwrap().to_vec().unwrap();
            drop(hooks);
            assert_eq!(rest, whole, "layer {layer}");
            assert_eq!(seen.len(), usize::from(layer < 29));
        }
    }
    let short = Tensor::zeros([ids.dims()[1] - 1, 576], model.device()).unwrap();
    let wrong = model.losses_from(3, short, &ids, &mut Hooks::new()).err().unwrap().to_string();
    assert!(wrong.contains("losses_from") && wrong.contains('x'), "{wrong}");
    let none = Tensor::zeros([ids.dims()[1], 576], model.device()).unwrap();
    let wrong = model.losses_from(30, none, &ids, &mut Hooks::new()).err().unwrap().to_string();
    assert!(wrong.contains("30"), "{wrong}");
}

#[test]
fn hooks_are_checked() {
    let Some(lm) = smollm2() else { return };
    let ids = lm.ids("Hello").unwrap();
    let none = |_: &mut Tensor<f32, 2>| Ok(());
    let error = lm.model.next_logits(&ids, &mut Hooks::new().at(Site::mlp(30), none)).err().unwrap().to_string();
    assert!(error.contains("layer") && error.contains("30"), "{error}");
    let shrink = |x: &mut Tensor<f32, 2>| {
        *x = Tensor::zeros([1, 5], &Device::Host)?;
        Ok(())
    };
    let error = lm.model.next_logits(&ids, &mut Hooks::new().at(Site::mlp(1), shrink)).err().unwrap().to_string();
    assert_eq!(error, "hook: x has size 5, expected 576");
    assert!(lm.model.activations(&ids, Site::residual(30), &mut Hooks::new()).is_err());
}

#[test]
fn a_batch_is_its_contexts() {
    let Some(lm) = smollm2() else { return };
    let Some(ids) = speech(lm) else { return };
    let (site, mut none) = (Site::residual(7), Hooks::new());
    let batch = lm.model.ids(ids[..96].to_vec(), 4).unwrap();
    let together = lm.model.activations(&batch, site, &mut none).unwrap().to_vec().unwrap();
    for (context, together) in ids[..96].chunks(24).zip(together.chunks(24 * 576)) {
        let alone = lm.model.ids(context.to_vec(), 1).unwrap();
        let alone = lm.model.activations(&alone, site, &mut none).unwrap().to_vec().unwrap();
        close(together, &alone, 1e-9);
    }
}

#[test]
fn a_cache_changes_nothing() {
    let Some(lm) = smollm2() else { return };
    let Some(ids) = speech(lm) else { return };
    let (model, mut none) = (&lm.model, Hooks::new());
    let mut cache = Cache::new(model, 1, 40).unwrap();
    for piece in [&ids[..20], &ids[20..21], &ids[21..40]] {
        let cached = model.extend(piece.to_vec(), &mut cache, &mut none).unwrap();
        let seen = model.ids(ids[..cache.len()].to_vec(), 1).unwrap();
        close(&cached, &model.next_logits(&seen, &mut none).unwrap().to_vec().unwrap(), 1e-9);
    }
    assert!(model.extend(vec![1], &mut cache, &mut none).is_err(), "the cache is full");
    cache.truncate(20);
    let again = model.extend(ids[20..21].to_vec(), &mut cache, &mut none).unwrap();
    let seen = model.ids(ids[..21].to_vec(), 1).unwrap();
    close(&again, &model.next_logits(&seen, &mut none).unwrap().to_vec().unwrap(), 1e-9);
}

#[test]
fn generation_is_reproducible() {
    let Some(lm) = smollm2() else { return };
    let prompt = "The capital of France is";
    let greedy = Sampling { tokens: 8, ..Sampling::default() };
    let mut told = String::new();
    let text = lm.generate(prompt, &greedy, &mut Hooks::new(), |piece| told.push_str(piece)).unwrap().text;
    assert!(text.starts_with(" Paris") && text == told, "{text}");
    // Without a cache: the likeliest next token of the whole, again and again.
    let mut ids = lm.tokenizer.encode(prompt).unwrap();
    for _ in 0..8 {
        let all = lm.model.ids(ids.clone(), 1).unwrap();
        let logits = lm.model.next_logits(&all, &mut Hooks::new()).unwrap().to_vec().unwrap();
        ids.push(largest(&logits, 1)[0].0 as u32);
    }
    assert_eq!(lm.tokenizer.decode(&ids[5..]), text);
    let draw = |seed| {
        let sampling = Sampling { tokens: 8, temperature: 1.5, top_p: 0.95, seed };
        lm.generate(prompt, &sampling, &mut Hooks::new(), |_| ()).unwrap()
    };
    assert_eq!(draw(1), draw(1));
    assert!((2..6).any(|seed| draw(seed) != draw(1)));
    // The ids are those it chose; their text, encoded anew, may have another number of them.
    for more in (1..6).map(draw) {
        assert!(more.ids.len() == 8 || more.ids.last().copied() == lm.tokenizer.end());
        assert_eq!(lm.tokenizer.decode(&more.ids), more.text);
    }
    // Steering is felt by tokens to come.
    let mut hooks = Hooks::new().at(Site::residual(20), |x| Ok(latens::scale_into(-1.0, x.view_mut())?));
    assert_ne!(lm.generate(prompt, &greedy, &mut hooks, |_| ()).unwrap().text, text);
    drop(hooks);
    for wrong in [Sampling { top_p: 0.0, ..greedy }, Sampling { temperature: f32::NAN, ..greedy }] {
        assert!(lm.generate(prompt, &wrong, &mut Hooks::new(), |_| ()).is_err());
    }
    let long = Sampling { tokens: 9000, ..greedy };
    assert!(lm.generate(prompt, &long, &mut Hooks::new(), |_| ()).unwrap_err().to_string().contains("8192"));
    assert!(lm.generate("", &greedy, &mut Hooks::new(), |_| ()).is_err());
}
