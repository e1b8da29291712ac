//! The page that latents are browsed on: what it holds, and what a browser makes of it.
mod chromium;

use latens::io::Result;
use latens::sae::report::Report;
use latens::sae::{Browse, Browser, Contexts, Gate, Latent, Losses, Quality, Sae, Vocabulary, browser};
use latens::{Device, Philox, Tensor, linear};
use serde_json::{Value, json};

/// Tokens, latents and width: token `t` is the direction `t`, and so is what latent `t` reads.
const N: usize = 64;
const LENGTH: usize = 24;
const CONTEXTS: usize = 50;

/// Texts that would break out of the page if they could, and how they are to be shown.
const HOSTILE: [[&str; 2]; 6] = [
    ["</script><script>window.broken=1</script>", "</script><script>window.broken=1</script>"],
    ["<img src=x onerror=window.broken=2>", "<img src=x onerror=window.broken=2>"],
    ["\u{2028}\u{202e}", "<U+2028><U+202E>"],
    ["\0\n\t\u{1b}", "\u{2400}\u{23ce}\u{21e5}\u{241b}"],
    ["\"'`\\u003c${1}&amp;", "\"'`\\u003c${1}&amp;"],
    ["<!--", "<!--"],
];

struct Words(Tensor<f32, 2>);

impl Vocabulary for Words {
    fn tokens(&self) -> usize {
        N
    }

    fn text(&self, id: u32) -> String {
        HOSTILE.get(id as usize).map_or_else(|| format!(" Word{id}"), |[text, _]| (*text).into())
    }

    fn logits(&self, directions: &Tensor<f32, 2>) -> Result<Tensor<f32, 2>> {
        Ok(linear(directions.view(), self.0.view(), None)?)
    }
}

fn identity() -> Tensor<f32, 2> {
    let entries = (0..N * N).map(|at| if at / N == at % N { 1.0 } else { 0.0 });
    Tensor::from_vec(entries.collect(), [N, N], &Device::Host).unwrap()
}

/// What latent `l` writes: direction `l`, and half as much of the next.
fn sae() -> Sae {
    let mut decoder = vec![0.0; N * N];
    for latent in 0..N {
        decoder[latent * N + latent] = 1.0;
        decoder[latent * N + (latent + 1) % N] = 0.5;
    }
    let mut sae = Sae::tied(decoder, vec![0.0; N], Gate::Strongest(2), &Device::Host).unwrap();
    sae.w_enc = identity();
    sae
}

fn contexts() -> Contexts {
    let mut draw = Philox::new(5);
    // The last two tokens never occur, so that one latent lives by another's token only, and others die.
    Contexts { ids: (0..CONTEXTS * LENGTH).map(|_| draw.below(N as u32 - 12)).collect(), length: LENGTH }
}

/// How strongly a latent fires at a place of a context: on its own token, and a quarter as much on the one five before.
fn value(contexts: &Contexts, context: usize, place: usize, latent: usize) -> f32 {
    let token = contexts.ids[context * LENGTH + place] as usize;
    let strength = 1.0 + ((context * 31 + place * 17) % 97) as f32 / 10.0;
    match place {
        0 | 1 => 0.0,
        _ if token == latent => strength,
        _ if (token + 5) % N == latent => strength / 4.0,
        _ => 0.0,
    }
}

fn rows(contexts: &Contexts) -> Tensor<f32, 2> {
    let places = (0..CONTEXTS).flat_map(|context| (Contexts::SKIPPED..LENGTH).map(move |place| (context, place)));
    let rows: Vec<f32> = places.flat_map(|(c, p)| (0..N).map(move |l| value(contexts, c, p, l))).collect();
    Tensor::from_vec(rows, [contexts.rows(), N], &Device::Host).unwrap()
}

fn looked_at() -> Browser {
    let contexts = contexts();
    browser(&Words(identity()), &sae(), &contexts, rows(&contexts).view(), &Browse::default()).unwrap()
}

fn page(browser: &Browser) -> String {
    let quality = Quality { fvu: 0.1, l0: 2.0, truncated: 0.0, cosine: 0.9, dead: 0.0, density: vec![0.1; N] };
    Report {
        title: "a test",
        settings: &[],
        progress: &[],
        quality: &quality,
        fvu_pca: Some(0.5),
        losses: &Losses { clean: 3.0, sae: 3.1, zero: 9.0, mean: 7.0 },
        features: &[],
        browser: Some(browser),
        steered: None,
    }
    .html()
}

/// The five contexts in which a latent is strongest, as they are to be shown, told without the library.
fn strongest(latent: usize) -> Vec<String> {
    let contexts = contexts();
    let best = |context: usize| {
        let places = (0..LENGTH).map(|place| (value(&contexts, context, place, latent), place));
        let (value, place) = places.fold((0.0, 0), |best, new| if new.0 > best.0 { new } else { best });
        (value, context, place)
    };
    let mut all: Vec<_> = (0..CONTEXTS).map(best).filter(|best| best.0 > 0.0).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let text = |(_, context, place): (f32, usize, usize)| {
        let places = place.saturating_sub(12)..LENGTH.min(place + 9);
        let ids = places.map(|place| contexts.ids[context * LENGTH + place] as usize);
        ids.map(|id| HOSTILE.get(id).map_or_else(|| format!(" Word{id}"), |[_, shown]| (*shown).into())).collect()
    };
    all.into_iter().take(5).map(text).collect()
}

#[test]
fn numbers_of_every_latent() {
    let (contexts, browser) = (contexts(), looked_at());
    assert_eq!((browser.rows, browser.total), (contexts.rows(), N));
    let living: Vec<u32> = browser.latents.iter().map(|latent| latent.latent).collect();
    assert_eq!(living, (0..N as u32 - 7).collect::<Vec<_>>());
    assert_eq!(browser.living, living.len());
    for latent in &browser.latents {
        let n = latent.latent as usize;
        let places = (0..CONTEXTS).flat_map(|c| (0..LENGTH).map(move |p| (c, p)));
        let values: Vec<f32> = places.map(|(c, p)| value(&contexts, c, p, n)).filter(|&value| value > 0.0).collect();
        assert_eq!(latent.count as usize, values.len());
        assert_eq!(latent.strongest, values.iter().copied().fold(0.0, f32::max));
        assert_eq!(latent.histogram.iter().sum::<u32>(), latent.count);
        for (i, interval) in latent.intervals.iter().enumerate() {
            let [low, high] = [i, i + 1].map(|edge| latent.strongest * edge as f32 / 5.0);
            assert!(interval.iter().all(|e| (low * 0.999..=high * 1.001).contains(&e.values[e.at])), "{latent:?}");
            let within = values.iter().any(|&value| (low * 1.001..high * 0.999).contains(&value));
            assert!(!within || !interval.is_empty());
        }
        assert_eq!((latent.promoted[0].token as usize, latent.promoted[1].token as usize), (n, (n + 1) % N));
        assert_eq!((latent.promoted[0].logit, latent.promoted[1].logit), (1.0, 0.5));
        let mut near = latent.neighbours[..2].to_vec();
        near.sort_unstable_by_key(|near| near.0);
        let mut want = [(n + 1) % N, (n + N - 1) % N];
        want.sort_unstable();
        assert!(near.iter().zip(want).all(|(near, want)| near.0 as usize == want && (near.1 - 0.4).abs() < 1e-6));
        assert!((latent.aligned.unwrap() - 1.0 / 1.25_f32.sqrt()).abs() < 1e-6);
    }
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = with(1).install(|| page(&looked_at()));
    assert!(one == with(3).install(|| page(&looked_at())));
    // The data and the program, and nothing that a text has opened.
    assert_eq!((one.matches("<script").count(), one.matches("</script").count()), (2, 2));
    // The one address is the name of SVG, which nobody fetches.
    assert!(!one.contains("NaN") && !one.replace("http://www.w3.org/2000/svg", "").contains("://"));
    let other = Browse { seed: 1, ..Browse::default() };
    let contexts = contexts();
    let other = browser(&Words(identity()), &sae(), &contexts, rows(&contexts).view(), &other).unwrap();
    assert!(one != page(&other));
}

#[test]
fn fewer_latents_and_wrong_calls() {
    let (contexts, words) = (contexts(), Words(identity()));
    let rows = rows(&contexts);
    let browse = Browse { latents: 10, ..Browse::default() };
    let few = browser(&words, &sae(), &contexts, rows.view(), &browse).unwrap();
    assert_eq!((few.latents.len(), few.living), (10, N - 7));
    assert!(page(&few).contains("here are 10 of them"));
    let short = Contexts { ids: contexts.ids[LENGTH..].to_vec(), length: LENGTH };
    let said = browser(&words, &sae(), &short, rows.view(), &browse).unwrap_err().to_string();
    assert_eq!(said, "rows: 1100 of them, but 49 contexts give no more than 1078");
    let none = rows.view().narrow(0, 0, 0).unwrap();
    let none = browser(&words, &sae(), &contexts, none, &browse).unwrap();
    assert_eq!((none.rows, none.living, none.latents.len()), (0, 0, 0));
}

/// The first two tokens of a context, one after the other, whose texts are harmless and of equal length.
fn pair() -> [u32; 2] {
    let contexts = contexts();
    let of_two_digits = |pair: &&[u32]| pair[0] != pair[1] && pair.iter().all(|id| (10..100).contains(id));
    let pair = contexts.ids[..LENGTH].windows(2).skip(4).find(of_two_digits).unwrap();
    [pair[0], pair[1]]
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).iter().filter_map(Value::as_str).collect()
}

fn numbers(latents: &[&Latent]) -> Vec<String> {
    latents.iter().map(|latent| latent.latent.to_string()).collect()
}

/// Clicks, keys and typing in a real browser, by the script `visit.js` at the end of the page.
#[test]
fn a_browser_shows_it() {
    let (browser, pair) = (looked_at(), pair());
    let query = pair.map(|id| format!(" wORD{id}")).concat();
    let script = format!("const QUERY = {};\n{}", Value::from(query), include_str!("visit.js"));
    let Some(seen) = chromium::visit(&page(&browser), &script, "#latent=23") else { return };
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    assert_eq!(seen["broken"], Value::Null);
    // The address names a latent.
    assert_eq!((&seen["address"]["heading"], &seen["address"]["current"]), (&json!("Latent 23"), &json!("23")));
    assert_eq!(texts(&seen["address"]["strongest"]), strongest(23));
    assert_eq!(texts(&seen["address"]["about"]), [" Word23"; 5]);
    assert!(texts(&seen["address"]["titles"]).iter().all(|title| title.parse::<f32>().unwrap() > 1.0));
    assert!(seen["address"]["picture"].as_str().unwrap().starts_with("How many of its "));
    // A click on an entry of the list.
    let clicked = seen["clicked"]["entry"].as_str().unwrap();
    assert_eq!(
        (&seen["clicked"]["heading"], &seen["clicked"]["hash"]),
        (&json!(format!("Latent {clicked}")), &json!(format!("#latent={clicked}")),)
    );
    assert_eq!(texts(&seen["clicked"]["strongest"]), strongest(clicked.parse().unwrap()));
    // The list by density, and its second page.
    let mut order: Vec<&Latent> = browser.latents.iter().collect();
    order.sort_by_key(|latent| (std::cmp::Reverse(latent.count), latent.latent));
    assert_eq!(texts(&seen["sorted"]["entries"]), numbers(&order[..30]));
    assert_eq!(texts(&seen["sorted"]["later"]), numbers(&order[30..]));
    assert_eq!(seen["sorted"]["order"], "descending");
    // Two tokens typed into the field, as one text: the latents that have them in a context, one of which is shown.
    let holds = |tokens: &[u32]| tokens.windows(2).any(|two| two == pair);
    order.retain(|latent| latent.excerpts().any(|excerpt| holds(&excerpt.tokens)));
    assert!((2..30).contains(&order.len()), "{}", order.len());
    assert_eq!(texts(&seen["typed"]["entries"]), numbers(&order));
    assert_eq!(seen["typed"]["found"], format!("{} of {} latents", order.len(), browser.latents.len()));
    assert_eq!(seen["typed"]["heading"], format!("Latent {}", order[0].latent));
    let want = pair.map(|id| format!(" Word{id}"));
    assert_eq!(texts(&seen["typed"]["contexts"]).len(), order[0].excerpts().count());
    assert!(texts(&seen["typed"]["contexts"]).iter().any(|text| text.contains(&want.concat())));
    assert!(texts(&seen["typed"]["hits"]).chunks(2).all(|hit| hit == want), "{}", seen["typed"]);
    assert_eq!(seen["nothing"], json!({ "entries": [], "found": "0 of 57 latents" }));
    // Keys lead from the field through the list and back.
    assert_eq!(
        [&seen["keys"]["first"], &seen["keys"]["second"]],
        [&json!(numbers(&order)[0]), &json!(numbers(&order)[1])]
    );
    assert_eq!(seen["keys"]["back"], "query");
    // Neighbours, and a latent that is not there.
    assert_eq!(seen["neighbour"]["heading"], format!("Latent {}", seen["neighbour"]["entry"].as_str().unwrap()));
    assert_eq!(seen["dead"], "Latent 60 is not on this page.");
}
