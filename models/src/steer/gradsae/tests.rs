use super::slopes::slope;
use super::*;
use crate::lm::Config;
use crate::sae::{Contexts, Gate};
use crate::{Device, Philox, Tensor, copy_into};
use approx::assert_relative_eq;

/// A tokenizer is asked for nothing here but its end.
fn small() -> (LanguageModel, Sae) {
    let mut draw = Philox::new(5);
    let decoder: Vec<f32> = (0..64 * 24).map(|_| draw.uniform() - 0.5).collect();
    let sae = Sae::tied(decoder, vec![0.0; 24], Gate::Strongest(4), &Device::Host).unwrap();
    (crate::lm::tests::random(Config::llama(3, 24, 4, 60, 32), 3), sae)
}

fn asked() -> Vec<Asked> {
    let of = |prompt: std::ops::Range<u32>, answer: &[u32]| Asked {
        prompt: prompt.map(|i| i * 17 % 60).collect(),
        answer: answer.to_vec(),
    };
    vec![of(0..7, &[3]), of(4..11, &[9]), of(2..8, &[1, 2]), of(1..9, &[40, 41, 42])]
}

/// What is taken for a slope is one: a latent a little weaker changes the probability by as much as it says.
#[test]
fn influence_is_a_slope() {
    let (lm, sae) = small();
    for keep in [Keep::Reconstruction, Keep::Error] {
        for (objective, layer) in
            [(Objective::Probability, 0), (Objective::LogProbability, 1), (Objective::Probability, 2)]
        {
            let method = GradSae::new(&lm, &sae, layer).unwrap().keeping(keep).objective(objective);
            let asked = asked();
            let all = method.influences(&asked, |_| ()).unwrap();
            for (asked, influence) in asked.iter().zip(&all) {
                let edits: Vec<Edit> = influence
                    .latents
                    .iter()
                    .flat_map(|of| [0.98, 1.02].map(|by| Edit::Scale(vec![of.latent], by)))
                    .chain([Edit::Zero(vec![])])
                    .collect();
                let p = method.probabilities(asked, &edits, |_| ()).unwrap();
                assert_relative_eq!(*p.last().unwrap(), influence.probability, max_relative = 1e-4);
                let value = |p: f64| if objective == Objective::Probability { p } else { p.ln() };
                let scale = influence.latents.iter().map(|of| of.whole.abs()).fold(0.0, f64::max);
                for (of, p) in influence.latents.iter().zip(p.chunks(2)) {
                    let want = (value(p[1]) - value(p[0])) / 0.04;
                    assert!((of.whole - want).abs() < 2e-2 * scale, "{keep:?} {layer}: {} for {want}", of.whole);
                    assert!(of.gradient >= 0.0 && of.activation > 0.0);
                }
            }
        }
    }
}

/// Prompts together are each alone, whatever their lengths.
#[test]
fn together_is_alone() {
    let (lm, sae) = small();
    let method = GradSae::new(&lm, &sae, 1).unwrap();
    let together = method.influences(&asked(), |_| ()).unwrap();
    for (one, together) in asked().into_iter().zip(together) {
        let alone = method.influences(&[one], |_| ()).unwrap().remove(0);
        assert_eq!(alone.at_last, together.at_last);
        assert_eq!(alone.latents.len(), together.latents.len());
        for (a, b) in alone.latents.iter().zip(&together.latents) {
            assert_eq!(a.latent, b.latent);
            assert!((a.gradient - b.gradient).abs() < 1e-5 && (a.whole - b.whole).abs() < 1e-5);
        }
    }
}

/// The slopes of active latents are those of the whole matrix `G W_decᵀ` where latents are active; elsewhere the score is 0.
#[test]
fn active_latents_are_enough() {
    let (lm, sae) = small();
    let one = &asked()[0];
    let (t, n) = (one.prompt.len(), sae.latents());
    let ids = lm.model.ids(one.prompt.clone(), 1).unwrap();
    let x = lm.model.activations(&ids, Site::residual(0), &mut Hooks::new()).unwrap();
    let kept = x.view().narrow(0, Contexts::SKIPPED, t).unwrap();
    let code = sae.encode(kept).unwrap();
    let recon = sae.reconstruct_with(kept, &code).unwrap();
    let mut whole = Tensor::empty(x.dims(), &Device::Host).unwrap();
    copy_into(x.view(), whole.view_mut()).unwrap();
    copy_into(recon.view(), whole.view_mut().narrow(0, Contexts::SKIPPED, t).unwrap()).unwrap();
    let (gradient, logs) = slope(&lm.model, 0, whole, &[one], t).unwrap();
    let rows = gradient.view().narrow(0, Contexts::SKIPPED, t).unwrap();
    let dense = crate::linear(rows, sae.w_dec.view(), None).unwrap().to_vec().unwrap();
    let mut h = vec![0.0; (t - Contexts::SKIPPED) * n];
    let (values, latents) = (code.values.to_vec().unwrap(), code.latents.to_vec().unwrap());
    for (slot, (value, latent)) in values.iter().zip(&latents).enumerate() {
        h[slot / 4 * n + *latent as usize] = *value;
    }
    let influence =
        GradSae::new(&lm, &sae, 0).unwrap().influences(std::slice::from_ref(one), |_| ()).unwrap().remove(0);
    let mut found = vec![0.0; n];
    influence.latents.iter().for_each(|of| found[of.latent as usize] = of.gradient);
    for latent in 0..n {
        let of =
            (0..t - Contexts::SKIPPED).map(|row| f64::from(dense[row * n + latent] * h[row * n + latent]).max(0.0));
        let want = logs[0].exp() * of.sum::<f64>() / (t - Contexts::SKIPPED) as f64;
        assert!((found[latent] - want).abs() < 1e-6 + 1e-4 * want, "{latent}: {} for {want}", found[latent]);
    }
}

#[test]
fn sets_by_hand() {
    let of = |latent, gradient, activation| Influential { latent, gradient, whole: 0.0, activation };
    let latents = vec![of(1, 0.5, 1.0), of(4, 0.0, 9.0), of(6, 2.0, 3.0), of(7, 0.5, 0.5)];
    let influence = Influence { latents, at_last: 5, probability: 0.3 };
    assert_eq!(influence.top(2, By::Gradient), [6, 1]);
    assert_eq!(influence.top(9, By::Gradient), [6, 1, 7]);
    assert_eq!(influence.bottom(2, By::Gradient), [1, 7]);
    assert_eq!(influence.top(2, By::Activation), [4, 6]);
    assert_eq!(influence.bottom(1, By::Activation), [7]);
    assert_eq!(influence.half(), 2);
}

/// What is turned off in one prompt is turned off in no other, and where nothing is, the autoencoder alone speaks.
#[test]
fn sets_are_of_their_prompts() {
    let (lm, sae) = small();
    let prompts: Vec<Vec<u32>> = asked().into_iter().map(|one| one.prompt).collect();
    let method = GradSae::new(&lm, &sae, 0).unwrap();
    let none = vec![vec![]; prompts.len()];
    let mut begun = method.begin(&prompts, 6).unwrap();
    let plain = method.without(&mut begun, &none, |_| ()).unwrap();
    let insert = Insert::new(&sae, Keep::Reconstruction).unwrap();
    for (prompt, plain) in prompts.iter().zip(&plain) {
        let mut hooks = insert.hooks(method.site(), Positions::All);
        let sampling = crate::lm::Sampling { tokens: 6, ..Default::default() };
        let alone = lm.model.generate(prompt, &sampling, lm.tokenizer.end(), &mut hooks, |_| ()).unwrap();
        assert_eq!(plain.ids, alone);
    }
    let mut sets = none.clone();
    sets[2] = (0..64).collect();
    let less = method.without(&mut begun, &sets, |_| ()).unwrap();
    assert_ne!(less[2], plain[2]);
    assert_eq!((&less[..2], &less[3]), (&plain[..2], &plain[3]));
    assert!(method.without(&mut begun, &sets[..2], |_| ()).is_err());
    // Nothing is left of an earlier time.
    assert_eq!(method.without(&mut begun, &none, |_| ()).unwrap(), plain);
    // With the model's own error kept, nothing is changed at all.
    let method = GradSae::new(&lm, &sae, 0).unwrap().keeping(Keep::Error);
    let kept = method.without(&mut method.begin(&prompts, 6).unwrap(), &none, |_| ()).unwrap();
    let own = lm.model.generate_each(
        &prompts,
        &crate::lm::Sampling { tokens: 6, ..Default::default() },
        None,
        &mut Hooks::new(),
        |_, _| (),
    );
    assert_eq!(kept.into_iter().map(|of| of.ids).collect::<Vec<_>>(), own.unwrap());
}

#[test]
fn values_that_are_brought() {
    assert_eq!([-1.0, 7.0, 90.0].map(|x| Mode::Released.brought(x)), [0.0, 7.0, 50.0]);
    assert_eq!([-1.0, 7.0, 90.0].map(|x| Mode::Paper.brought(x)), [-1.0, 7.0, 90.0]);
}

/// The released code edits the last token only, and runs everything anew at each step.
#[test]
fn released_steering_edits_the_last_token() {
    let (lm, sae) = small();
    let method = GradSae::new(&lm, &sae, 1).unwrap();
    let prompt = asked()[0].prompt.clone();
    let (one, donor) = (std::slice::from_ref(&prompt), vec![(3, 1.5), (17, -0.5)]);
    let said = method.steer(one, &[vec![5]], std::slice::from_ref(&donor), Mode::Released, 5, |_| ()).unwrap();
    // The same by hand: every step shows all tokens, and only the last is edited.
    let insert = Insert::new(&sae, Keep::Reconstruction).unwrap();
    let insert = insert.edit(Edit::Zero(vec![5])).unwrap().edit(Edit::Set(vec![(3, 1.5), (17, 0.0)])).unwrap();
    let mut ids = prompt.clone();
    for _ in 0..5 {
        let mut hooks = insert.hooks(method.site(), Positions::Last);
        let logits =
            lm.model.next_logits(&lm.model.ids(ids.clone(), 1).unwrap(), &mut hooks).unwrap().to_vec().unwrap();
        ids.push((0..60).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a))).unwrap() as u32);
    }
    assert_eq!(said[0].ids, ids[prompt.len()..]);
    assert!(said[0].ids.iter().any(|&id| id != said[0].ids[0]), "it says more than one thing: {said:?}");
    let paper = method.steer(one, &[vec![5]], &[donor], Mode::Paper, 5, |_| ()).unwrap();
    // And the paper's, at all tokens with the values as they are.
    let insert = Insert::new(&sae, Keep::Reconstruction).unwrap();
    let insert = insert.edit(Edit::Zero(vec![5])).unwrap().edit(Edit::Set(vec![(3, 1.5), (17, -0.5)])).unwrap();
    let sampling = crate::lm::Sampling { tokens: 5, ..Default::default() };
    let mut hooks = insert.hooks(method.site(), Positions::All);
    let want = lm.model.generate(&prompt, &sampling, lm.tokenizer.end(), &mut hooks, |_| ()).unwrap();
    assert_eq!(paper[0].ids, want);
    assert!(want.iter().any(|&id| id != want[0]), "it says more than one thing: {want:?}");
    assert!(method.steer(one, &[vec![5]], &[], Mode::Paper, 5, |_| ()).is_err());
}

#[test]
fn wrong_calls_are_errors() {
    let (lm, sae) = small();
    let said = |result: Result<GradSae<'_>>| result.err().unwrap().to_string();
    let narrow = Sae::tied(vec![1.0, 0.0], vec![0.0; 2], Gate::Strongest(1), &Device::Host).unwrap();
    assert!(said(GradSae::new(&lm, &narrow, 0)).contains("width 2, but the model's are 24 wide"));
    assert!(said(GradSae::new(&lm, &sae, 3)).contains("3 was asked for, but the model has 3"));
    let method = GradSae::new(&lm, &sae, 0).unwrap();
    let of = |prompt: &[u32], answer: &[u32]| {
        let asked = Asked { prompt: prompt.to_vec(), answer: answer.to_vec() };
        let one = method.probabilities(&asked, &[Edit::Zero(vec![])], |_| ()).unwrap_err().to_string();
        (method.influences(&[asked], |_| ()).unwrap_err().to_string(), one)
    };
    assert!(of(&[1, 2], &[3]).0.contains("2 tokens given"));
    assert!(of(&[1, 2, 3], &[]).0.contains("0 to follow") && of(&[1, 2, 3], &[]).1.starts_with("asked: "));
    assert!(of(&[1, 2, 99], &[3]).0.contains("no token"));
    let long: Vec<u32> = vec![1; 40];
    assert!(of(&long, &[3]).0.contains("40 tokens, but the model takes 32"));
}
