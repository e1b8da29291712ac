//! Places of a model by the names that TransformerLens has for them.
use crate::io::{Error, Result, short};
use crate::lm::{Point, Site};

/// What TransformerLens calls a place.
///
/// # Errors
/// A place that it has no name for.
pub fn hook_name(site: Site) -> Result<String> {
    Ok(format!("blocks.{}.{}", site.layer, point_name(site.point)?))
}

fn point_name(point: Point) -> Result<&'static str> {
    Ok(match point {
        Point::Residual => "hook_resid_post",
        Point::Attention => "hook_attn_out",
        // With the norm's weights, as newer versions hand it out; older ones do so before the weights of an RMS norm.
        Point::MlpInput => "ln2.hook_normalized",
        Point::Mlp => "hook_mlp_out",
        Point::Mixer => return Err(Error::setting("site", "a mixer has no name in TransformerLens' words")),
    })
}

/// The places of a [`Decoder`](crate::lm::Decoder) of `layers` layers that one of `patterns` names, each once, in the order in which
/// they are reached. A `*` stands for any letters: `blocks.*.hook_resid_post` for the residuals after all layers.
///
/// # Errors
/// [`Error::Setting`] for a pattern that names none, with all that there are.
pub fn places(layers: usize, patterns: &[impl AsRef<str>]) -> Result<Vec<Site>> {
    let all = (0..layers).flat_map(|layer| Point::PASSED.iter().map(move |&point| Site { layer, point }));
    let all = all.map(|site| Ok((site, hook_name(site)?))).collect::<Result<Vec<_>>>()?;
    let names = |pattern: &str, name: &str| matches(pattern, name);
    if let Some(none) = patterns.iter().find(|pattern| !all.iter().any(|(_, name)| names(pattern.as_ref(), name))) {
        let points = Point::PASSED.iter().map(|&point| point_name(point)).collect::<Result<Vec<_>>>()?;
        let what = format!(
            "{} names no place, expected blocks.N.POINT with N from 0 to {} and POINT one of {}",
            short(none.as_ref()),
            layers.saturating_sub(1),
            points.join(", ")
        );
        return Err(Error::setting("site", what));
    }
    let asked = |name: &str| patterns.iter().any(|pattern| names(pattern.as_ref(), name));
    Ok(all.into_iter().filter(|(_, name)| asked(name)).map(|(site, _)| site).collect())
}

/// Whether `name` is `pattern`, with some letters or none for each `*`.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inside = name.strip_prefix(start).and_then(|name| name.strip_suffix(end));
    // What is between two stars is best found as early as it is there.
    let found = |name: &str, part: &str| name.find(part).map(|at| at + part.len());
    inside
        .is_some_and(|mut name| middle.split('*').all(|part| found(name, part).map(|at| name = &name[at..]).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_letters() {
        for (pattern, name, same) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("*", "", true),
            ("*", "a.b", true),
            ("a*", "b", false),
            ("a*b", "ab", true),
            ("a*b", "a.1.b", true),
            ("ab*b", "ab", false),
            ("a**b", "a1b", true),
            ("*1*2*", "x1y2", true),
            ("*1*2*", "x2y1", false),
            ("a*1*1*b", "a1b", false),
            ("*.ö", "a.ö", true),
        ] {
            assert_eq!(matches(pattern, name), same, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_name_places() {
        assert_eq!(places(3, &["blocks.*.hook_resid_post"]).unwrap(), [0, 1, 2].map(Site::residual));
        let two = places(30, &["*.17.hook_*_out", "blocks.2.ln2.hook_normalized", "blocks.17.hook_mlp_out"]).unwrap();
        assert_eq!(two, [Site::mlp_input(2), Site::attention(17), Site::mlp(17)]);
        assert_eq!(places(2, &["*"]).unwrap().len(), 8);
        assert_eq!(places(2, &[] as &[&str]).unwrap(), []);
        let said = places(2, &["*", "blocks.2.*"]).unwrap_err().to_string();
        assert!(said.starts_with("site: blocks.2.* names no place") && said.contains("0 to 1"), "{said}");
        assert!(["hook_attn_out", "ln2.hook_normalized", "hook_resid_post"].iter().all(|one| said.contains(one)));
    }
}
