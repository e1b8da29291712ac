//! Steering: the same on every device, and on a real model what it says it is.
use latens::lm::{Config, Decoder, Hooks, LanguageModel, Sampling, Site, Tokenizer};
use latens::sae::{Gate, Sae};
use latens::steer::gradsae::{Asked, GradSae};
use latens::steer::{
    Edit, Form, Insert, Keep, Places, Pooling, Positions, Push, Run, Vector, add_direction, states, states_at, surprise,
};
use latens::{Device, Tensor, assets, bf16};
use latens_tests::{close, devices, normal, place, real};
use std::path::PathBuf;

const D: usize = 24;
const WORDS: usize = 50;

/// A tokenizer of the words `w0` to `w49`.
fn tokenizer(name: &str) -> (Tokenizer, PathBuf) {
    let words: serde_json::Map<String, serde_json::Value> =
        (0..WORDS).map(|id| (format!("w{id}"), id.into())).collect();
    let model = serde_json::json!({"type": "WordLevel", "vocab": words, "unk_token": "w0"});
    let json = serde_json::json!({"version": "1.0", "model": model, "pre_tokenizer": {"type": "WhitespaceSplit"}});
    let folder = std::env::temp_dir().join(format!("latens-steer-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    (Tokenizer::from_json(&path).unwrap(), folder)
}

fn model(device: &Device, name: &str) -> LanguageModel {
    let (tokenizer, folder) = tokenizer(name);
    std::fs::remove_dir_all(folder).unwrap();
    let model = Decoder::<f32>::random(Config::llama(3, D, 4, WORDS, 32), 3, &Device::Host).unwrap();
    LanguageModel { model: model.to(device).unwrap(), tokenizer }
}

fn sae(device: &Device) -> Sae {
    Sae::tied(normal(64 * D, 0.3, 9), normal(D, 0.1, 8), Gate::Strongest(5), device).unwrap()
}

fn asked() -> Vec<Asked> {
    let of = |from: u32, count: u32, answer: &[u32]| Asked {
        prompt: (from..from + count).map(|i| i * 17 % 50).collect(),
        answer: answer.to_vec(),
    };
    vec![of(0, 9, &[3]), of(5, 7, &[1, 2]), of(9, 9, &[40])]
}

#[test]
fn every_device_agrees() {
    let run = |device: &Device| {
        let (lm, sae) = (model(device, &format!("agree-{}", place(device))), sae(device));
        let method = GradSae::new(&lm, &sae, 1).unwrap();
        let influences = method.influences(&asked(), |_| ()).unwrap();
        let scores: Vec<f64> = influences
            .iter()
            .flat_map(|of| of.latents.iter().flat_map(|of| [of.gradient, of.whole, of.activation]))
            .collect();
        let edits =
            [Edit::Zero(vec![3, 9]), Edit::Set(vec![(7, 2.0)]), Edit::Scale(vec![1], 0.5), Edit::Add(vec![(2, 1.0)])];
        let p = method.probabilities(&asked()[1], &edits, |_| ()).unwrap();
        let texts: Vec<Vec<u32>> = asked().into_iter().map(|one| one.prompt).collect();
        let seen = states(&lm, Site::residual(1), &sae, &texts, Pooling::Mean, |_| ()).unwrap();
        let pushed = |form| {
            let push = Push::each(&normal::<f32>(D, 1.0, 4), vec![0.5, -1.0, 2.0], device).unwrap().form(form);
            let mut hooks = push.hooks(Site::residual(1), Positions::All);
            lm.model.activations_each(&texts, Site::residual(2), &mut hooks).unwrap().to_vec().unwrap()
        };
        let insert = Insert::new(&sae, Keep::Error).unwrap().edit(Edit::Scale((0..64).collect(), 2.0)).unwrap();
        let mut hooks = insert.hooks(Site::residual(0), Positions::Chosen(vec![3, 5]));
        let inserted = lm.model.activations_each(&texts, Site::residual(2), &mut hooks).unwrap().to_vec().unwrap();
        let rows = [seen.raw().to_vec(), pushed(Form::Add), pushed(Form::Blend), inserted].concat();
        (scores, p, rows)
    };
    let host = run(&Device::Host);
    for device in devices() {
        let found = run(&device);
        close(&format!("scores on {}", place(&device)), &found.0, &host.0, 1e-6);
        close(&format!("probabilities on {}", place(&device)), &found.1, &host.1, 1e-8);
        close(&format!("rows on {}", place(&device)), &found.2, &host.2, 1e-8);
    }
}

/// Several places in one run are each as they are in a run of their own, in any order; short texts are told.
#[test]
fn states_at_several_places() {
    let (device, pooling) = (Device::Host, [Pooling::Mean, Pooling::Last]);
    let (lm, sae) = (model(&device, "several"), sae(&device));
    let texts: Vec<Vec<u32>> = asked().into_iter().map(|one| one.prompt).collect();
    for pooling in pooling {
        let sites = [Site::residual(2), Site::mlp(0), Site::residual(1)];
        let mut told = 0;
        let all = states_at(&lm, &sites.map(|site| (site, &sae)), &texts, pooling, |count| told += count).unwrap();
        assert_eq!((told, all.len()), (texts.len(), 3));
        for (site, seen) in sites.into_iter().zip(all) {
            let own = states(&lm, site, &sae, &texts, pooling, |_| ()).unwrap();
            assert!(own.raw() == seen.raw() && own.raw().iter().any(|&x| x != 0.0), "{site:?}");
            assert!((0..texts.len()).all(|row| own.latents().row(row).eq(seen.latents().row(row))), "{site:?}");
        }
    }
    assert!(states_at(&lm, &[], &texts, Pooling::Mean, |_| ()).unwrap().is_empty());
    let short = states_at(&lm, &[(Site::residual(0), &sae)], &[vec![1]], Pooling::Mean, |_| ());
    assert!(short.err().unwrap().to_string().contains("number 0 has 1 tokens"));
    assert!(states_at(&lm, &[(Site::residual(9), &sae)], &texts, Pooling::Mean, |_| ()).is_err());
}

/// Rows of half the bits, with gaps between them, and another strength in each.
#[test]
fn directions_into_any_rows() {
    for device in std::iter::once(Device::Host).chain(devices()) {
        let x: Vec<f32> = normal(4 * 10, 1.0, 2);
        let v: Vec<f32> = normal(7, 1.0, 3);
        let strengths = [1.0, 0.0, -2.0, 0.5];
        let half: Vec<bf16> = x.iter().map(|&x| bf16::from_f32(x)).collect();
        let mut rows = Tensor::<bf16, 2>::from_vec(half.clone(), [4, 10], &device).unwrap();
        add_direction(&v, &strengths, rows.view_mut().narrow(1, 2, 9).unwrap()).unwrap();
        for (at, got) in rows.to_vec().unwrap().into_iter().enumerate() {
            let (row, column) = (at / 10, at % 10);
            let more =
                if (2..9).contains(&column) { strengths[row] * bf16::from_f32(v[column - 2]).to_f32() } else { 0.0 };
            let want = half[at].to_f32() + more;
            assert!((got.to_f32() - want).abs() <= 0.004 * want.abs() + 1e-6, "{row} {column}: {got} for {want}");
        }
        assert!(add_direction(&v, &strengths[..3], rows.view_mut().narrow(1, 2, 9).unwrap()).is_err());
        assert!(add_direction(&v, &strengths, rows.view_mut()).is_err());
    }
}

/// What is too much for a model is told as such, and too long a prompt as that.
#[test]
fn too_much_is_an_error() {
    let lm = model(&Device::Host, "much");
    let prompts = vec![vec![1, 2, 3, 4]; 3];
    let push = |strength: f32| {
        move |_: std::ops::Range<usize>| {
            let push = Push::new(&[2.0; D], strength, &Device::Host)?;
            Ok(push.into_hooks(Site::residual(2), Places::new(Positions::All).skipping(0)))
        }
    };
    let said = Run::new(&lm, 4).go(&prompts, push(f32::MAX), |_| ()).unwrap_err().to_string();
    assert!(said.starts_with("strength: ") && said.contains("not finite"), "{said}");
    let long = vec![vec![1; 30]];
    assert!(
        Run::new(&lm, 4)
            .go(&long, push(1.0), |_| ())
            .unwrap_err()
            .to_string()
            .contains("34 tokens, but the model takes 32")
    );
    let none: Vec<Vec<u32>> = vec![vec![]];
    assert!(Run::new(&lm, 4).go(&none, push(1.0), |_| ()).unwrap_err().to_string().contains("no tokens"));
    assert!(surprise(&lm, &none, &[vec![1]]).is_err() && surprise(&lm, &prompts, &[vec![1]]).is_err());
}

/// Parts of a run are the whole run.
#[test]
fn parts_are_the_whole() {
    let lm = model(&Device::Host, "parts");
    let prompts: Vec<Vec<u32>> = (0..7).map(|at| (0..3 + at).map(|i| i * 11 % 50).collect()).collect();
    let go = |together| {
        let mut told = 0;
        let hooks = |part: std::ops::Range<usize>| {
            let strengths = part.map(|at| at as f32 * 0.3).collect();
            let push = Push::each(&normal::<f32>(D, 1.0, 4), strengths, &Device::Host)?;
            Ok(push.into_hooks(Site::residual(1), Places::new(Positions::All)))
        };
        let run = Run { together, ..Run::new(&lm, 5) };
        let said = run.go(&prompts, hooks, |count| told += count).unwrap();
        assert_eq!(told, 7);
        said
    };
    assert_eq!(go(3), go(100));
    let chosen: Vec<Vec<u32>> = go(3).into_iter().map(|of| of.ids).collect();
    let odd = surprise(&lm, &prompts, &chosen).unwrap();
    for ((prompt, chosen), odd) in prompts.iter().zip(&chosen).zip(odd) {
        let ids = lm.model.ids([&prompt[..], chosen].concat(), 1).unwrap();
        let losses = lm.model.losses(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
        let sum: f32 = losses[prompt.len() - 1..prompt.len() - 1 + chosen.len()].iter().sum();
        assert!((odd - f64::from(sum) / chosen.len() as f64).abs() < 1e-5);
    }
    // Begun but for the last tokens, and fading from there.
    let values = normal::<f32>(D, 3.0, 4);
    let fading = |_| {
        let push = Push::new(&values, 1.0, &Device::Host)?.decaying(0.5)?;
        Ok(push.into_hooks(Site::residual(1), Places::new(Positions::Last).skipping(0)))
    };
    let run = Run { together: 3, ..Run::new(&lm, 5) };
    let mut begun = run.begin_last(&prompts).unwrap();
    let said = run.go(&prompts, fading, |_| ()).unwrap();
    assert_eq!(begun.go(fading, |_| ()).unwrap(), said);
    assert_ne!(begun.go(|_| Ok(Hooks::new()), |_| ()).unwrap(), said);
    let chosen: Vec<Vec<u32>> = said.into_iter().map(|of| of.ids).collect();
    let again = begun.surprise(&chosen).unwrap();
    for (a, b) in surprise(&lm, &prompts, &chosen).unwrap().into_iter().zip(again) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    assert!(begun.surprise(&chosen[1..]).is_err() && run.begin(&prompts, 1).unwrap().surprise(&chosen).is_err());
}

/// On SmolLM2: the probability of an answer is the model's own, slopes of latents tell which of them carry it, and a vector of another
/// model is refused.
#[test]
fn on_a_real_model() {
    let Some(path) = real(&assets::SMOLLM2) else { return };
    let lm = LanguageModel::open(&path, &Device::Host).unwrap();
    let (layer, d) = (22, lm.model.config().dim);
    let prompt = lm.tokenizer.encode("The capital of France is").unwrap();
    // Directions of real activations, so that few latents say much of a row.
    let text = lm.tokenizer.encode("Paris is the capital and the largest city of France, on the river Seine.").unwrap();
    let rows = lm.model.activations_each(&[&text[2..]], Site::residual(layer), &mut Hooks::new()).unwrap();
    let mut directions = rows.to_vec().unwrap()[3 * d..].to_vec();
    for row in directions.chunks_exact_mut(d) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    let sae = Sae::tied(directions, vec![0.0; d], Gate::Strongest(3), &Device::Host).unwrap();
    let method = GradSae::new(&lm, &sae, layer).unwrap().keeping(Keep::Error);
    let asked = Asked { prompt: prompt.clone(), answer: lm.tokenizer.encode(" Paris").unwrap() };
    let influence = method.influences(std::slice::from_ref(&asked), |_| ()).unwrap().remove(0);
    let logits =
        lm.model.next_logits(&lm.model.ids(prompt.clone(), 1).unwrap(), &mut Hooks::new()).unwrap().to_vec().unwrap();
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let own = f64::from(logits[asked.answer[0] as usize]).exp() / sum;
    assert!((influence.probability - own).abs() < 1e-4 && own > 0.3, "{} for {own}", influence.probability);
    // A little less of a latent: to the first order what its slope says.
    let edits: Vec<Edit> = influence.latents.iter().map(|of| Edit::Scale(vec![of.latent], 0.995)).collect();
    let p = method.probabilities(&asked, &edits, |_| ()).unwrap();
    let scale = influence.latents.iter().map(|of| of.whole.abs()).fold(0.0, f64::max);
    for (of, p) in influence.latents.iter().zip(p) {
        let want = (influence.probability - p) / 0.005;
        assert!((of.whole - want).abs() < 0.05 * scale, "latent {}: {} for {want}", of.latent, of.whole);
    }
    let vector = Vector {
        concept: "capital".into(),
        method: "a latent".into(),
        site: Site::residual(layer),
        values: sae.direction(influence.latents[0].latent as usize).unwrap(),
        model: lm.model.sha256().unwrap(),
        typical: 0.0,
        notes: serde_json::Map::new(),
    };
    vector.check(&lm.model).unwrap();
    let other = Vector { model: "0".repeat(64), ..vector };
    assert!(other.check(&lm.model).unwrap_err().to_string().contains("was made for the model"));
    // Pushed hard enough, it says something else.
    let sampling = Sampling { tokens: 6, ..Sampling::default() };
    let plain = lm.generate_each(&["The capital of France is"], &sampling, &mut Hooks::new(), || ()).unwrap();
    assert!(plain[0].text.starts_with(" Paris"), "{plain:?}");
    let push = Push::new(&other.values, -400.0, &Device::Host).unwrap();
    let mut hooks = push.hooks(other.site, Positions::All);
    let pushed = lm.generate_each(&["The capital of France is"], &sampling, &mut hooks, || ()).unwrap();
    assert_ne!(pushed, plain);
}
