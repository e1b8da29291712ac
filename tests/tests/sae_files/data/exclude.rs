//! Tokens that are left out by their places and their numbers.
use super::{D, Folder, SITES, VOCABULARY, contexts, model, plain};
use latens::io::Error;
use latens::lm::Decoder;
use latens::sae::{Buffer, Contexts, Exclude, Kept, Shards, Source, Stream};
use latens::{Device, Tensor};
use proptest::prelude::*;
use std::fs;

/// The next `count` batches of both places.
fn batches(mut stream: Stream<'_>, count: usize) -> Vec<[Vec<f32>; 2]> {
    let next = |_| {
        let both = stream.batch().unwrap();
        [both[0], both[1]].map(|batch| latens::sae::on_host(batch).unwrap())
    };
    (0..count).map(next).collect()
}

/// The same of rows at hand.
fn expected(rows: &[Vec<f32>; 2], [room, batch]: [usize; 2], at: usize, count: usize) -> Vec<[Vec<f32>; 2]> {
    let total = rows[0].len() / D;
    let of = |rows: &Vec<f32>| {
        let mut buffer = Buffer::new(total, D, room, batch, 9, at as u64, &Device::Host).unwrap();
        let fill = |start: usize, into: &mut Tensor<f32, 2>| -> latens::io::Result<()> {
            let mut part = rows[start * D..total.min(start + room) * D].to_vec();
            part.resize(into.dims()[0] * D, 0.0);
            Ok(into.write(&part)?)
        };
        (0..count).map(|_| latens::sae::on_host(buffer.next(fill).unwrap()).unwrap()).collect::<Vec<_>>()
    };
    of(&rows[0]).into_iter().zip(of(&rows[1])).map(|(a, b)| [a, b]).collect()
}

/// The rows themselves, from the model at once and from files.
fn rows_are(model: &Decoder, kept: &Kept<'_>, shards: &Shards, rows: &[Vec<f32>; 2], start: usize) {
    let total = rows[0].len() / D;
    assert_eq!((kept.rows(), shards.rows()), (total, total));
    for (at, rows) in rows.iter().enumerate() {
        assert!(shards.first(at, total + 3).unwrap() == *rows);
        let mut some = Tensor::<f32, 2>::zeros([5, D], &Device::Host).unwrap();
        let mut told = 0;
        kept.activations(model, SITES[at], start, &mut some, |rows| told += rows).unwrap();
        let end = total.min(start + 5);
        assert_eq!(told, end - start);
        assert!(some.to_vec().unwrap()[..(end - start) * D] == rows[start * D..end * D]);
        let mut same = Tensor::<f32, 2>::zeros([5, D], &Device::Host).unwrap();
        shards.read(at, start, &mut same).unwrap();
        assert!(some.to_vec().unwrap() == same.to_vec().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Kept is what a loop over tokens keeps; files and the model give the same batches of it, from any batch on.
    #[test]
    fn kept_is_what_a_loop_keeps(
        count in 1_usize..20, length in 1_usize..9, seed in 0_u64..1000, first in 0_usize..9, each in 1_usize..12,
        ids in prop::collection::vec(0..VOCABULARY as u32, 0..9),
        room in 1_usize..80, batch in 1_usize..12, at in 0_usize..25,
    ) {
        let (model, contexts) = (model(), contexts(count, length, seed));
        let exclude = Exclude { first: first % length, ids, longest: None };
        prop_assume!(exclude != Exclude::default()); // which has a test of its own
        let (tokens, rows) = plain(&model, &contexts, &exclude, 8);
        let Ok(kept) = Kept::new(&contexts, &exclude, VOCABULARY) else {
            prop_assert!(tokens.is_empty());
            return Ok(());
        };
        prop_assert_eq!(kept.rows(), tokens.len());
        (0..tokens.len()).for_each(|row| assert_eq!(kept.token(row), Some(tokens[row])));
        prop_assert_eq!(kept.token(tokens.len()), None);

        let folder = Folder::new("kept");
        let shards = Shards::write_kept(&folder.0, &model, &kept, &SITES, each, "words", |_| {}).unwrap();
        rows_are(&model, &kept, &shards, &rows, seed as usize % tokens.len());
        let opened = Shards::open(&folder.0).unwrap();
        prop_assert_eq!((opened.rows(), opened.data()), (shards.rows(), shards.data()));
        let before = folder.files();
        Shards::write_kept(&folder.0, &model, &kept, &SITES, each, "words", |_| {}).unwrap();
        prop_assert!(folder.files() == before);

        let stream = |source, at: usize| Stream::new(source, room, batch, 9, at as u64, &Device::Host);
        let fly = || Source::Kept { model: &model, kept: &kept, sites: SITES.to_vec() };
        let disk = || Source::Shards(&opened, vec![0, 1]);
        prop_assert!(fly().first(7).unwrap() == disk().first(7).unwrap());
        if room.min(tokens.len()) < batch {
            prop_assert!(stream(disk(), 0).is_err());
            return Ok(());
        }
        let want = expected(&rows, [room, batch], 0, 25);
        prop_assert!(batches(stream(disk(), 0).unwrap(), 25) == want);
        prop_assert!(batches(stream(disk(), at).unwrap(), 25 - at) == want[at..]);
        prop_assert!(batches(stream(fly(), 0).unwrap(), 25) == want);
        prop_assert!(batches(stream(fly(), at).unwrap(), 25 - at) == want[at..]);
    }
}

/// Where nothing is said all is as it was before there was a choice: rows, their order, the note, and fillings of whole contexts.
#[test]
fn nothing_said_is_as_ever() {
    let (model, contexts, folder) = (model(), contexts(7, 6, 4), Folder::new("usual"));
    let exclude = Exclude::default();
    let (tokens, rows) = plain(&model, &contexts, &exclude, 3);
    assert_eq!(tokens, (0..7).flat_map(|context| (2..6).map(move |place| (context, place))).collect::<Vec<_>>());
    assert!((0..28).all(|row| contexts.token(row) == tokens[row]));
    let mut told = 0;
    let shards = Shards::write(&folder.0, &model, &contexts, &SITES, 3, "words", |rows| told += rows).unwrap();
    assert!(told == 28 && [0, 1].map(|at| shards.first(at, 99).unwrap()) == rows);
    let note = serde_json::json!({
        "version": 1, "d": D, "rows": 28, "each": 12, "sites": ["blocks.1.hook_resid_post", "blocks.0.hook_mlp_out"],
        "data": format!("words; contexts {}", contexts.sha256()),
    });
    assert_eq!(fs::read_to_string(folder.0.join("shards.json")).unwrap(), format!("{note:#}\n"));
    let file = |at: usize| folder.0.join(format!("blocks.1.hook_resid_post/{at:05}.safetensors"));
    assert!(file(2).is_file() && !file(3).exists());

    // The same is meant by an exclusion that says it; and what was there is taken over.
    let kept = Kept::new(&contexts, &exclude, VOCABULARY).unwrap();
    let before = folder.files();
    Shards::write_kept(&folder.0, &model, &kept, &SITES, 3, "words", |_| {}).unwrap();
    assert!(folder.files() == before);

    // Room for 10 rows of files, and for 8 of a model: whole contexts.
    let stream = |source| Stream::new(source, 10, 3, 9, 2, &Device::Host).unwrap();
    assert!(batches(stream(Source::Shards(&shards, vec![0, 1])), 20) == expected(&rows, [10, 3], 2, 20));
    let (_, rows) = plain(&model, &contexts, &exclude, 2);
    let want = expected(&rows, [8, 3], 2, 20);
    let usual = Source::Model { model: &model, contexts: &contexts, sites: SITES.to_vec() };
    assert!(batches(stream(usual), 20) == want);
    assert!(batches(stream(Source::Kept { model: &model, kept: &kept, sites: SITES.to_vec() }), 20) == want);
    let mut part = Tensor::<f32, 2>::zeros([8, D], &Device::Host).unwrap();
    contexts.activations(&model, SITES[0], 8, &mut part, |_| {}).unwrap();
    assert!(part.to_vec().unwrap() == rows[0][8 * D..16 * D]);
}

/// Activations of something else are not taken for these, and notes that contradict themselves are refused.
#[test]
fn other_activations_are_refused() {
    let (model, contexts, folder) = (model(), contexts(4, 6, 5), Folder::new("other"));
    let write = |exclude: &Exclude| {
        let kept = Kept::new(&contexts, exclude, VOCABULARY)?;
        Shards::write_kept(&folder.0, &model, &kept, &SITES, 2, "words", |_| {})
    };
    let some = Exclude { first: 1, ids: vec![7, 3, 3], longest: None };
    let data = write(&some).unwrap().data().to_owned();
    assert!(data.ends_with(" without the first 1, tokens [3, 7]"), "{data}");
    write(&Exclude { ids: vec![3, 7], ..some.clone() }).unwrap();
    for other in [Exclude::default(), Exclude { first: 0, ..some.clone() }, Exclude { ids: vec![3], ..some.clone() }] {
        let said = write(&other).unwrap_err().to_string();
        assert!(said.contains("shards.json: holds other activations"), "{said}");
    }
    let path = folder.0.join("shards.json");
    let note: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut other = note.clone();
        change(&mut other);
        fs::write(&path, other.to_string()).unwrap();
        Shards::open(&folder.0).unwrap_err().to_string()
    };
    assert!(refused(&|note| note["version"] = 1.into()).contains("expected version 1 or 2"));
    assert!(refused(&|note| note["version"] = 3.into()).contains("is of version 3"));
    assert!(refused(&|note| note["rows"] = 1.into()).contains("expected 1 together"));
    assert!(refused(&|note| note["chosen"]["files"] = serde_json::json!([u64::MAX, 2])).contains("together"));
    assert!(refused(&|note| note["chosen"]["limits"] = serde_json::json!([1.0])).contains("1 limits"));
    assert!(refused(&|note| note["chosen"]["exclude"]["last"] = 2.into()).contains("last"));
}

#[test]
fn what_leaves_nothing_is_refused() {
    let name = |contexts: &Contexts, exclude: Exclude| match Kept::new(contexts, &exclude, VOCABULARY) {
        Err(Error::Setting { name, .. }) => name,
        _ => "",
    };
    let (some, usual) = (contexts(2, 6, 1), Exclude::default);
    assert_eq!(name(&some, usual()), "");
    assert_eq!(name(&some, Exclude { first: 6, ..usual() }), "exclude.first");
    assert_eq!(name(&some, Exclude { ids: vec![VOCABULARY as u32], ..usual() }), "exclude.ids");
    assert_eq!(name(&some, Exclude { longest: Some(0.5), ..usual() }), "exclude.longest");
    assert_eq!(name(&some, Exclude { ids: (0..VOCABULARY as u32).collect(), ..usual() }), "exclude");
    assert_eq!(name(&Contexts { ids: Vec::new(), length: 6 }, usual()), "exclude");
    assert_eq!(name(&contexts(2, 2, 1), usual()), "exclude.first");
    let model = model();
    let said = Shards::write(&Folder::new("nothing").0, &model, &contexts(2, 2, 1), &SITES, 1, "", |_| {}).unwrap_err();
    assert!(said.to_string().starts_with("contexts: "), "{said}");
}
