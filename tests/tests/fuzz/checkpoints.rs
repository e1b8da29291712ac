//! Seeds of autoencoders, in the layouts of all libraries, and of their training.
use crate::formats::{crowds, headers, pickles};
use crate::seeds::*;
use crate::targets::HOST;
use latens::sae;
use latens_tests::files::f32s;
use serde_json::{Value, json};

/// Width and latents of autoencoders that are changed and read thousands of times.
pub const SMALL: [usize; 2] = [3, 4];

pub fn saelens([d, n]: [usize; 2]) -> Vec<Seed> {
    let base =
        || vec![tensor("W_enc", &[d, n]), tensor("W_dec", &[n, d]), tensor("b_enc", &[n]), tensor("b_dec", &[d])];
    let of = |config: Value, all: Vec<_>| {
        let mut whole = json!({"d_in": d, "d_sae": n, "dtype": "float32", "metadata": {"hook_name": "blocks.0.hook_resid_post", "most": 3}});
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        vec![("cfg.json", words(whole)), ("sae_weights.safetensors", tensors(&all, &[]))]
    };
    let with =
        |names: &[&str]| base().into_iter().chain(names.iter().map(|name| tensor(name, &[n]))).collect::<Vec<_>>();
    let mut gated = with(&["b_gate", "b_mag", "r_mag"]);
    gated.retain(|tensor| tensor.0 != "b_enc");
    let mut batch = base();
    batch.push(tensor("topk_threshold", &[]));
    let f16s = |bytes: &[u8]| {
        let numbers = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        numbers.flat_map(|number| half::f16::from_f32(number).to_le_bytes()).collect()
    };
    let half = base().into_iter().map(|(name, _, dims, bytes)| (name, "F16", dims, f16s(&bytes)));
    let mut dense = of(json!({"architecture": "standard"}), base());
    dense[0].1 = Form::Bytes(format!("[{}]", vec!["0"; 200_000].join(",")).into_bytes());
    vec![
        sound(of(json!({"architecture": "topk", "k": 2, "rescale_acts_by_decoder_norm": true}), base())),
        sound(of(
            json!({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 2}, "normalize_activations": false}),
            base(),
        )),
        sound(of(json!({"architecture": "standard", "normalize_activations": "layer_norm"}), half.collect())),
        sound(of(json!({"architecture": "jumprelu", "apply_b_dec_to_input": false}), with(&["threshold"]))),
        sound(of(json!({"architecture": "gated"}), gated)),
        sound(of(json!({"architecture": "batchtopk", "k": 2.5}), batch)),
        sound(of(json!({"architecture": "standard", "finetuning_scaling_factor": true}), with(&["scaling_factor"]))),
        unsound(dense),
    ]
}

pub fn sparsify([d, n]: [usize; 2]) -> Vec<Seed> {
    let all = [
        tensor("encoder.weight", &[n, d]),
        tensor("encoder.bias", &[n]),
        tensor("W_dec", &[n, d]),
        tensor("b_dec", &[d]),
    ];
    let of = |config| sound(vec![("cfg.json", words(config)), ("sae.safetensors", tensors(&all, &[]))]);
    vec![
        of(
            json!({"d_in": d, "num_latents": n, "k": 2, "activation": "topk", "transcode": false, "expansion_factor": 32}),
        ),
        of(json!({"d_in": d, "num_latents": n, "k": 4})),
    ]
}

pub fn dictionaries([d, n]: [usize; 2]) -> Vec<Seed> {
    let of = |kind: &str, all: Vec<(&'static str, Held)>| {
        let config = json!({"trainer": {"dict_class": kind, "activation_dim": d, "dict_size": n}});
        sound(vec![("config.json", words(config)), ("ae.pt", torch(&all))])
    };
    let number = |of: f32| Held::Tensor("FloatStorage", vec![], vec![], f32s(&[of]));
    let linear = |more: Vec<(&'static str, Held)>| {
        let mut all = vec![
            ("encoder.weight", held(&[n, d])),
            ("decoder.weight", Held::Tensor("FloatStorage", vec![d, n], vec![1, d], f32s(&floats(d * n)))),
        ];
        all.extend(more);
        all
    };
    let square = |more: Vec<(&'static str, Held)>| {
        let mut all =
            vec![("W_enc", held(&[d, n])), ("W_dec", held(&[n, d])), ("b_enc", held(&[n])), ("b_dec", held(&[d]))];
        all.extend(more);
        all
    };
    vec![
        of("AutoEncoder", linear(vec![("encoder.bias", held(&[n])), ("bias", held(&[d]))])),
        of("AutoEncoderNew", linear(vec![("encoder.bias", held(&[n])), ("decoder.bias", held(&[d]))])),
        of(
            "AutoEncoderTopK",
            linear(vec![
                ("encoder.bias", held(&[n])),
                ("b_dec", held(&[d])),
                ("k", Held::Int(2)),
                ("threshold", number(0.5)),
            ]),
        ),
        of(
            "BatchTopKSAE",
            linear(vec![
                ("encoder.bias", held(&[n])),
                ("b_dec", held(&[d])),
                ("k", number(2.0)),
                ("threshold", number(-1.0)),
            ]),
        ),
        of(
            "GatedAutoEncoder",
            linear(
                ["r_mag", "gate_bias", "mag_bias"]
                    .map(|name| (name, held(&[n])))
                    .into_iter()
                    .chain([("decoder_bias", held(&[d]))])
                    .collect(),
            ),
        ),
        of("JumpReluAutoEncoder", square(vec![("threshold", held(&[n]))])),
        of(
            "MatryoshkaBatchTopKSAE",
            square(vec![("k", Held::Int(1)), ("threshold", number(0.5)), ("group_sizes", held(&[2]))]),
        ),
    ]
}

pub fn openai([d, n]: [usize; 2]) -> Vec<Seed> {
    let of = |more: Vec<(&'static str, Held)>| {
        let mut all = vec![
            ("pre_bias", held(&[d])),
            ("latent_bias", held(&[n])),
            ("encoder.weight", held(&[n, d])),
            ("decoder.weight", held(&[d, n])),
        ];
        all.extend(more);
        vec![("ae.pt", torch(&all))]
    };
    let state = Held::Dictionary(vec![("k", Held::Int(2)), ("postact_fn", Held::Text("ReLU"))]);
    let mut all = vec![
        sound(of(vec![("activation", Held::Text("ReLU")), ("stats_last_nonzero", held(&[n]))])),
        sound(of(vec![("activation", Held::Text("TopK")), ("activation_state_dict", state)])),
    ];
    all.extend(pickles().into_iter().take(2).map(|form| unsound(vec![("ae.pt", form)])));
    all
}

pub fn gemma([d, n]: [usize; 2]) -> Vec<Seed> {
    let shapes =
        [("W_enc", vec![d, n]), ("W_dec", vec![n, d]), ("b_enc", vec![n]), ("b_dec", vec![d]), ("threshold", vec![n])];
    let array = |(name, dims): (&str, Vec<usize>)| {
        let shape = if dims.len() == 1 { format!("({},)", dims[0]) } else { format!("({}, {})", dims[0], dims[1]) };
        (format!("{name}.npy"), npy("<f4", name == "W_enc", &shape, &f32s(&floats(dims.iter().product()))))
    };
    let entries: Vec<_> = shapes.clone().map(array).into();
    let small: Vec<_> = shapes.map(|(name, dims)| tensor(&name.to_lowercase(), &dims)).into();
    let mut all = vec![
        sound(vec![("params.npz", Form::Zip(entries.clone(), false))]),
        sound(vec![("params.npz", Form::Zip(entries, true))]),
        sound(vec![("params.safetensors", tensors(&small, &[]))]),
    ];
    all.extend(crowds(".npy").into_iter().map(|crowd| unsound(vec![("params.npz", crowd)])));
    all
}

pub fn llama_scope([d, n]: [usize; 2]) -> Vec<Seed> {
    let all = [
        tensor("encoder.weight", &[n, d]),
        tensor("encoder.bias", &[n]),
        tensor("decoder.weight", &[d, n]),
        tensor("decoder.bias", &[d]),
    ];
    let of = |lengths: bool| {
        let config = json!({"d_model": d, "d_sae": n, "act_fn": "jumprelu", "jump_relu_threshold": 0.36, "norm_activation": "dataset-wise",
            "dataset_average_activation_norm": {"in": 10.8, "out": 9.5}, "sparsity_include_decoder_norm": lengths, "use_decoder_bias": true,
            "apply_decoder_bias_to_pre_encoder": false, "top_k": 50});
        sound(vec![("hyperparams.json", words(config)), ("final.safetensors", tensors(&all, &[]))])
    };
    vec![of(true), of(false)]
}

/// Latent caches of two ranges, in the types of both.
pub fn caches() -> Vec<Seed> {
    let of = |config: Value, narrow: bool, more: usize| {
        let range = |places: &[[u16; 3]]| {
            let places: Vec<u16> =
                places.iter().copied().chain((0..more as u16).map(|at| [2, at, 0])).flatten().collect();
            let count = places.len() / 3;
            let values = if narrow { [0, 0x3c].repeat(count) } else { f32s(&vec![0.5; count]) };
            let tokens = (0..3 * 400).flat_map(i64::to_le_bytes).collect();
            let places: Vec<u8> = match narrow {
                true => places.iter().flat_map(|place| place.to_le_bytes()).collect(),
                false => places.iter().flat_map(|&place| u32::from(place).to_le_bytes()).collect(),
            };
            let [values_in, places_in] = if narrow { ["F16", "U16"] } else { ["F32", "U32"] };
            let all = [
                ("tokens".to_owned(), "I64", vec![3, 400], tokens),
                ("locations".to_owned(), places_in, vec![count, 3], places),
                ("activations".to_owned(), values_in, vec![count], values),
            ];
            tensors(&all, &[])
        };
        sound(vec![
            ("0_1.safetensors", range(&[[0, 2, 1], [1, 2, 0]])),
            ("2_4.safetensors", range(&[[0, 3, 0], [1, 2, 2]])),
            ("config.json", words(config)),
        ])
    };
    let ours = json!({"ctx_len": 400, "n_splits": 2, "latens": {"version": 1, "latents": 5}});
    let mut all = vec![of(ours, false, 0), of(json!({"ctx_len": 400}), true, 0), of(json!({}), true, 300)];
    all.extend(
        headers()
            .into_iter()
            .map(|header| unsound(vec![("0_4.safetensors", header), ("config.json", words(json!({})))])),
    );
    all
}

pub fn sae_states() -> Vec<Seed> {
    let [d, n] = SMALL;
    let state = |variant, steps: usize| {
        let config = sae::Config { batch: 5, variant, ..sae::Config::new(d, n, 2, 9) };
        let rows = floats(15);
        let mut trainer = sae::Trainer::new(config, &rows, &HOST).unwrap();
        let rows = latens::Tensor::from_vec(rows, [5, d], &HOST).unwrap();
        (0..steps).for_each(|_| trainer.step(rows.view()).unwrap());
        trainer.mark().unwrap();
        let files = saved("sae-state", |at| trainer.save_state(&at.join("s.safetensors")).unwrap());
        Seed { files, sound: true }
    };
    // One of a run with a billion rows a step, which are no reason to take memory for them.
    let mut large = state(sae::Variant::TopK, 0);
    if let Form::Safetensors(header, _) = &mut large.files[0].1 {
        let (words, from) = (String::from_utf8(header.clone()).unwrap(), r#"\"batch\":5,"#);
        assert!(words.contains(from));
        *header = words.replace(from, r#"\"batch\":1073741824,"#).into_bytes();
    }
    let mut all = vec![state(sae::Variant::TopK, 2), state(sae::Variant::BatchTopK, 2), large];
    all.extend(headers().into_iter().map(|header| unsound(vec![("s.safetensors", header)])));
    all
}
