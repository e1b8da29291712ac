//! Contexts of any lengths at once are what each is alone.
use crate::models::{configs, ids, model};
use latens::lm::{Cache, Hooks, Sampling, Site, Span};
use latens::{Device, Tensor, scale_into};
use latens_tests::{close, devices, place};

/// Contexts of 4, 1, 6, 6 and 3 tokens.
fn contexts() -> Vec<Vec<u32>> {
    let all = ids(20);
    [0..4, 4..5, 5..11, 11..17, 17..20].map(|part| all[part].to_vec()).into()
}

#[test]
fn together_is_alone() {
    for (name, config) in configs() {
        for device in std::iter::once(Device::Host).chain(devices()) {
            let (model, what) = (model::<f32>(&config, &device), format!("{name} on {}", place(&device)));
            let (all, site) = (contexts(), Site::residual(0));
            let rows = model.activations_each(&all, site, &mut Hooks::new()).unwrap().to_vec().unwrap();
            let losses = model.losses_each(&all, &mut Hooks::new()).unwrap();
            let mut start = 0;
            for (context, losses) in all.iter().zip(&losses) {
                let ids = model.ids(context.clone(), 1).unwrap();
                let alone = model.activations(&ids, site, &mut Hooks::new()).unwrap().to_vec().unwrap();
                close(&what, &rows[start..start + alone.len()], &alone, 1e-10);
                close(&what, losses, &model.losses(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap(), 1e-10);
                start += alone.len();
            }
            assert_eq!(start, rows.len());
        }
    }
}

/// Token by token over a cache, some contexts with none at times: the logits of each alone.
#[test]
fn a_cache_of_many() {
    for (name, config) in configs() {
        for device in std::iter::once(Device::Host).chain(devices()) {
            let (model, what) = (model::<f32>(&config, &device), format!("{name} on {}", place(&device)));
            let all = contexts();
            let mut cache = Cache::new(&model, all.len(), 6).unwrap();
            for cut in [[2, 1, 0, 3, 1], [2, 0, 5, 3, 0], [0, 0, 1, 0, 2]] {
                let seen = cache.lengths().to_vec();
                let new: Vec<&[u32]> = all.iter().zip(&seen).zip(cut).map(|((ids, &at), n)| &ids[at..at + n]).collect();
                let logits = model.extend_each(&new, &mut cache, &mut Hooks::new()).unwrap();
                let with: Vec<usize> = (0..5).filter(|&context| cut[context] > 0).collect();
                assert_eq!(logits.dims(), [with.len(), 50]);
                for (context, logits) in with.into_iter().zip(logits.to_vec().unwrap().chunks(50)) {
                    let ids = model.ids(all[context][..cache.lengths()[context]].to_vec(), 1).unwrap();
                    let alone = model.next_logits(&ids, &mut Hooks::new()).unwrap().to_vec().unwrap();
                    close(&what, logits, &alone, 1e-10);
                }
            }
            assert_eq!(cache.lengths(), [4, 1, 6, 6, 3]);
            assert!(model.extend_each(&all[..2], &mut cache, &mut Hooks::new()).is_err(), "five contexts");
            assert!(model.extend_each(&all, &mut cache, &mut Hooks::new()).is_err(), "no room");
        }
    }
}

#[test]
fn each_goes_on_as_it_would_alone() {
    for (name, config) in configs() {
        let (model, all) = (model::<f32>(&config, &Device::Host), contexts());
        for (temperature, end) in [(0.0, None), (1.0, Some(7)), (1.0, Some(20))] {
            let sampling = Sampling { tokens: 8, temperature, top_p: 0.9, seed: 3 };
            let mut told = vec![Vec::new(); all.len()];
            let tell = |context: usize, id| told[context].push(id);
            let together = model.generate_each(&all, &sampling, end, &mut Hooks::new(), tell).unwrap();
            for (context, together) in all.iter().zip(&together) {
                let alone = model.generate(context, &sampling, end, &mut Hooks::new(), |_| ()).unwrap();
                assert_eq!(*together, alone, "{name}");
            }
            assert_eq!(told, together);
        }
        let none = Sampling { tokens: 0, ..Sampling::default() };
        let empty = model.generate_each(&all, &none, None, &mut Hooks::new(), |_, _| ()).unwrap();
        assert_eq!(empty, vec![Vec::<u32>::new(); 5]);
        let said = model.generate_each(&[vec![1], vec![]], &none, None, &mut Hooks::new(), |_, _| ()).unwrap_err();
        assert!(said.to_string().contains("number 1 has no tokens"), "{said}");
        let long = Sampling { tokens: 11, ..Sampling::default() };
        assert!(model.generate_each(&all, &long, None, &mut Hooks::new(), |_, _| ()).is_err());
        let nobody = model.generate_each(&[] as &[Vec<u32>], &long, None, &mut Hooks::new(), |_, _| ()).unwrap();
        assert!(nobody.is_empty());
    }
}

/// A hook that changes one context by its rows changes no other.
#[test]
fn hooks_know_whose_rows_they_see() {
    let (_, config) = configs().swap_remove(0);
    let (model, all, site) = (model::<f32>(&config, &Device::Host), contexts(), Site::residual(0));
    let sampling = Sampling { tokens: 3, ..Sampling::default() };
    let mut seen: Vec<Vec<Span>> = Vec::new();
    let mut hooks = Hooks::new().at_spans(site, |x: &mut Tensor<f32, 2>, spans: &[Span]| {
        seen.push(spans.to_vec());
        for span in spans.iter().filter(|span| span.context == 2) {
            scale_into(-1.0, x.view_mut().narrow(0, span.rows.start, span.rows.end)?)?;
        }
        Ok(())
    });
    let changed = model.generate_each(&all, &sampling, None, &mut hooks, |_, _| ()).unwrap();
    drop(hooks);
    let plain = model.generate_each(&all, &sampling, None, &mut Hooks::new(), |_, _| ()).unwrap();
    assert_ne!(changed[2], plain[2]);
    assert_eq!((&changed[..2], &changed[3..]), (&plain[..2], &plain[3..]));
    let lengths: Vec<usize> = all.iter().map(Vec::len).collect();
    for (step, spans) in seen.iter().enumerate() {
        let from = |context: usize| if step == 0 { 0 } else { lengths[context] + step - 1 };
        let of = |context: usize| if step == 0 { lengths[context] } else { 1 };
        for (context, span) in spans.iter().enumerate() {
            assert_eq!((span.context, span.from, span.rows.len()), (context, from(context), of(context)));
        }
        assert_eq!(spans.len(), 5);
    }
    assert_eq!(seen.len(), 3);
}

/// Prompts that were begun go on as they would from the start, as often as is wanted, whatever was done at the residual before.
#[test]
fn begun_is_from_the_start() {
    for (name, config) in configs() {
        let (model, all) = (model::<f32>(&config, &Device::Host), contexts());
        let sampling = Sampling { tokens: 8, temperature: 1.0, top_p: 0.9, seed: 3 };
        for layer in 0..config.layers {
            let mut begun = model.begin(&all, layer, 8).unwrap();
            for factor in [1.0, -2.0, 0.5, 1.0] {
                let hooks = || Hooks::new().at(Site::residual(layer), move |x| Ok(scale_into(factor, x.view_mut())?));
                let again = model.again(&mut begun, &sampling, Some(7), &mut hooks(), |_, _| ()).unwrap();
                let whole = model.generate_each(&all, &sampling, Some(7), &mut hooks(), |_, _| ()).unwrap();
                assert_eq!(again, whole, "{name}, layer {layer}, {factor}");
            }
            let few = Sampling { tokens: 2, ..sampling };
            let short = model.again(&mut begun, &few, None, &mut Hooks::new(), |_, _| ()).unwrap();
            assert!(short.iter().all(|ids| ids.len() == 2));
        }
        assert!(model.begin(&all, config.layers, 8).is_err() && model.begin(&all, 0, 11).is_err());
        assert!(model.begin(&[vec![1], vec![]], 0, 1).is_err());
    }
}

/// The same where prompts were begun but for their last tokens, and how surprising a continuation is behind them.
#[test]
fn begun_but_for_the_last_token() {
    for (name, config) in configs() {
        let (model, all) = (model::<f32>(&config, &Device::Host), contexts());
        let sampling = Sampling { tokens: 8, temperature: 1.0, top_p: 0.9, seed: 3 };
        let mut begun = model.begin_last(&all, 8).unwrap();
        for factor in [1.0, -2.0, 0.5, 1.0] {
            let last = move |x: &mut Tensor<f32, 2>, spans: &[Span]| {
                for span in spans {
                    scale_into(factor, x.view_mut().narrow(0, span.rows.end - 1, span.rows.end)?)?;
                }
                Ok(())
            };
            let hooks = || Hooks::new().at_spans(Site::mlp(0), last);
            let again = model.again(&mut begun, &sampling, Some(7), &mut hooks(), |_, _| ()).unwrap();
            let whole = model.generate_each(&all, &sampling, Some(7), &mut hooks(), |_, _| ()).unwrap();
            assert_eq!(again, whole, "{name}, {factor}");

            let texts: Vec<Vec<u32>> = all.iter().zip(&again).map(|(a, b)| [&a[..], b].concat()).collect();
            let want = model.losses_each(&texts, &mut Hooks::new()).unwrap();
            let got = model.losses_behind(&mut begun, &again, &mut Hooks::new()).unwrap();
            for ((want, got), prompt) in want.iter().zip(&got).zip(&all) {
                assert_eq!(got.len() + prompt.len(), want.len());
                close(name, got, &want[prompt.len() - 1..want.len() - 1], 1e-5);
            }
        }
        let none = vec![vec![]; all.len()];
        let losses = |begun: &mut _, of: &[Vec<u32>]| model.losses_behind(begun, of, &mut Hooks::new());
        assert!(losses(&mut begun, &none).unwrap().iter().all(Vec::is_empty));
        let mut some = none.clone();
        some[1] = vec![3, 1, 4];
        let lengths: Vec<usize> = losses(&mut begun, &some).unwrap().iter().map(Vec::len).collect();
        assert_eq!((lengths[1], lengths.iter().sum::<usize>()), (3, 3));
        some[0] = vec![1; 9];
        assert!(losses(&mut begun, &some).is_err() && losses(&mut begun, &none[1..]).is_err());
        assert!(losses(&mut model.begin(&all, 0, 8).unwrap(), &none).is_err());
        assert!(model.begin_last(&all, 11).is_err() && model.begin_last(&[vec![1], vec![]], 1).is_err());
    }
}
