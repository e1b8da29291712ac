//! How near an answer is to one that is known: SQuAD's two measures (Rajpurkar et al. 2016); and whether it goes on at all.
use std::collections::{BTreeMap, BTreeSet};

/// The words of an answer as SQuAD compares them: in lower case, without punctuation and articles.
pub fn words(answer: &str) -> Vec<String> {
    let plain: String = answer.to_lowercase().chars().filter(|letter| !letter.is_ascii_punctuation()).collect();
    plain.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).map(str::to_owned).collect()
}

/// Whether the answer has the words of one that is right, and no others.
pub fn exact_match(answer: &str, right: &[impl AsRef<str>]) -> bool {
    let answer = words(answer);
    right.iter().any(|right| words(right.as_ref()) == answer)
}

/// The largest harmonic mean of the share of the answer's words that are in a right one, and of the right one's that are in the answer. Where one
/// of the two has no words it is 1 if the other has none either, else 0.
pub fn f1(answer: &str, right: &[impl AsRef<str>]) -> f64 {
    let answer = words(answer);
    right.iter().map(|right| overlap(&answer, &words(right.as_ref()))).fold(0.0, f64::max)
}

/// The share of tokens that are different, distinct-1 of Li et al. (2016): small where a text only says the same again. Of no tokens 1.
pub fn distinct(ids: &[u32]) -> f64 {
    match ids.len() {
        0 => 1.0,
        count => ids.iter().collect::<BTreeSet<_>>().len() as f64 / count as f64,
    }
}

fn overlap(answer: &[String], right: &[String]) -> f64 {
    if answer.is_empty() || right.is_empty() {
        return if answer == right { 1.0 } else { 0.0 };
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    right.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let mut common = 0;
    for word in answer {
        if let Some(count) = left.get_mut(&**word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    2.0 * common as f64 / (answer.len() + right.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn by_hand() {
        assert_eq!(words("  The U.S.A.'s  an  Answer, "), ["usas", "answer"]);
        assert!(exact_match("the Paris.", &["London", "paris"]));
        assert!(!exact_match("Paris, France", &["Paris"]));
        assert!(!exact_match("Paris", &[] as &[&str]));
        // Two of three words, and two of two.
        assert_relative_eq!(f1("in New York", &["New York"]), 0.8);
        // A word counts as often as it is there.
        assert_relative_eq!(f1("no no no", &["no"]), 0.5);
        assert_relative_eq!(f1("x", &["x y z", "x y"]), 2.0 / 3.0);
        assert_eq!((distinct(&[5, 7, 5, 5]), distinct(&[]), distinct(&[9])), (0.5, 1.0, 1.0));
        assert_eq!((f1("the", &["a"]), f1("", &["x"]), f1("x", &["the"])), (1.0, 0.0, 0.0));
    }
}
