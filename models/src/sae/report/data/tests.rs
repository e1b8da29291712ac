use super::*;
use crate::sae::{BINS, INTERVALS};
use serde_json::{Value, json};

fn excerpt_at(context: usize, start: usize, values: &[f32]) -> Excerpt {
    let tokens = (0..values.len()).map(|i| (100 * context + start + i) as u32).collect();
    Excerpt { context, start, tokens, values: values.to_vec(), at: 1 }
}

fn latent(latent: u32, top: Vec<Excerpt>) -> Latent {
    Latent {
        latent,
        count: 3,
        strongest: 4.0,
        histogram: [0; BINS],
        promoted: vec![Word { token: 7, logit: 1.234_56 }],
        suppressed: vec![Word { token: 3, logit: -0.000_123_456 }],
        sharpness: f32::NAN,
        aligned: None,
        neighbours: vec![(9, 0.5)],
        contexts: top.iter().map(|excerpt| excerpt.context as u32).collect(),
        top,
        intervals: std::array::from_fn(|_| vec![]),
    }
}

fn browser(latents: Vec<Latent>, text: impl Fn(u32) -> String) -> Browser {
    let named: BTreeSet<u32> = latents.iter().flat_map(Latent::tokens).collect();
    let texts = named.into_iter().map(|id| (id, text(id))).collect();
    Browser { rows: 10, total: 20, living: 2, latents, texts }
}

fn read(page: &str) -> Value {
    serde_json::from_str(page).unwrap()
}

#[test]
fn excerpts_share_what_they_have_in_common() {
    let a = excerpt_at(2, 5, &[0.0, 0.0, 4.0, 1.0, 0.0]);
    let b = excerpt_at(2, 8, &[0.001, 0.0, 2.0]);
    let within = excerpt_at(2, 6, &[0.0, 4.0]);
    let apart = excerpt_at(0, 8, &[0.0, 0.0, 1.0]);
    let far = excerpt_at(2, 90, &[4.0]);
    let all = [a, b, within, apart, far];
    let read = read(&embedded(&browser(vec![latent(6, all.to_vec())], |id| format!("t{id}"))));
    // Context 0 first, then 5 to 10 of context 2 as one piece, then its token 90.
    let words: Vec<String> = [8, 9, 10, 205, 206, 207, 208, 209, 210, 290].map(|id| format!("t{id}")).to_vec();
    let (stream, tokens) = (read["stream"].as_array().unwrap(), read["tokens"].as_array().unwrap());
    let text: Vec<&str> = stream.iter().map(|at| tokens[at.as_u64().unwrap() as usize].as_str().unwrap()).collect();
    assert_eq!(text, words);
    let want = json!([
        [3, 5, 1, -2, 1000, 250],
        [6, 3, 1, 1, -1, 500],
        [4, 2, 1, -1, 1000],
        [0, 3, 1, -2, 250],
        [9, 1, 1, 1000]
    ]);
    assert_eq!(read["latents"][0]["top"], want);
    assert_eq!(read["latents"][0]["intervals"].as_array().unwrap().len(), INTERVALS);
}

#[test]
fn numbers_are_short_and_numbers() {
    let read = read(&embedded(&browser(vec![latent(6, vec![])], |id| format!("t{id}"))));
    let of = &read["latents"][0];
    assert_eq!((&of["promoted"], &of["suppressed"]), (&json!([[1, 1.235]]), &json!([[0, -0.000_123_5]])));
    assert_eq!((&of["sharpness"], &of["aligned"], &of["n"]), (&json!(0.0), &Value::Null, &json!(6)));
    assert_eq!(read["tokens"], json!(["t3", "t7"]));
    assert_eq!((&read["rows"], &read["total"], &read["living"]), (&json!(10), &json!(20), &json!(2)));
    assert!(read["stream"].as_array().unwrap().is_empty());
}

/// Texts come back as they are, and the page holds nothing that could end the element or upset a parser.
#[test]
fn hostile_texts() {
    let hostile = [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "]]>&lt;\"'\\",
        "\u{2028}\u{2029}\u{feff}",
        "\0\u{1}\u{7}\r\n\t\u{1f}\u{7f}\u{80}\u{9f}",
        "\u{202e}abc\u{2066}",
        "\u{10ffff}\u{fffe}\u{ffff}\u{d7ff}",
        "",
    ];
    let values = vec![1.0; hostile.len()];
    let top = vec![excerpt_at(1, 0, &values)];
    let text = |id: u32| hostile[id as usize % hostile.len()].into();
    let page = embedded(&browser(vec![latent(0, top)], text));
    assert!(page.chars().all(|c| !"<>&\u{2028}\u{2029}\u{feff}".contains(c) && !c.is_control()), "{page}");
    let read = read(&page);
    let texts: BTreeSet<&str> = read["tokens"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(texts, hostile.into_iter().collect());
}

#[test]
fn no_latents_at_all() {
    let read = read(&embedded(&browser(vec![], |_| String::new())));
    assert_eq!((&read["latents"], &read["tokens"], &read["stream"]), (&json!([]), &json!([]), &json!([])));
}
