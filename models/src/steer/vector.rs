use crate::io::{self, Error, Result, safetensors as format};
use crate::lm::{Decoder, Site};
use crate::sae::{hook_name, places};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A direction that stands for a concept, and whence it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// What it stands for.
    pub concept: String,
    /// How it was found.
    pub method: String,
    /// The activations that it is added to.
    pub site: Site,
    /// As many as these activations are wide.
    pub values: Vec<f32>,
    /// The model's [`Decoder::sha256`].
    pub model: String,
    /// The mean length of the states that it was found from, by which strengths of different places compare; 0 where it was not measured.
    pub typical: f32,
    /// Settings, and whatever else is to be kept.
    pub notes: Map<String, Value>,
}

/// The JSON beside the numbers.
#[derive(Serialize, Deserialize)]
struct Beside {
    concept: String,
    method: String,
    site: String,
    width: usize,
    model: String,
    typical: f32,
    /// Of the numbers.
    sha256: String,
    #[serde(default)]
    notes: Map<String, Value>,
}

impl Vector {
    /// Its length.
    pub fn length(&self) -> f32 {
        self.values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32
    }

    /// The same direction, of this length.
    ///
    /// # Errors
    /// [`Error::Setting`] if it has no direction, or the length is not finite.
    pub fn of_length(mut self, length: f32) -> Result<Self> {
        let by = length / self.length();
        if !by.is_finite() || self.length() == 0.0 {
            return Err(Error::setting("length", format!("{length}, for a vector of length {}", self.length())));
        }
        self.values.iter_mut().for_each(|x| *x *= by);
        Ok(self)
    }

    /// Refuse a model that it was not made for.
    ///
    /// # Errors
    /// [`Error::Setting`] if the model is of another width, has no such layer, or has other weights.
    pub fn check(&self, model: &Decoder) -> Result<()> {
        let config = model.config();
        if self.values.len() != config.dim || self.site.layer >= config.layers {
            let what = format!(
                "\"{}\" is {} wide, for layer {}; the model is {} wide and has {} layers",
                self.concept,
                self.values.len(),
                self.site.layer,
                config.dim,
                config.layers
            );
            return Err(Error::setting("vector", what));
        }
        let sha256 = model.sha256()?;
        if self.model != sha256 {
            let what = format!(
                "\"{}\" was made for the model {}, but this one is {}",
                self.concept,
                io::short(&self.model),
                sha256
            );
            return Err(Error::setting("vector", what));
        }
        Ok(())
    }

    /// [`check`](Self::check) where the model is none of this library: by the SHA-256 of its weights, or whatever else it was saved with as
    /// [`model`](Self::model), and by TransformerLens' name of the place that the vector is to be added at.
    ///
    /// # Errors
    /// [`Error::Setting`] if it was made for another model or place.
    pub fn check_named(&self, model: Option<&str>, site: Option<&str>) -> Result<()> {
        let here = hook_name(self.site)?;
        for (what, own, asked) in [("model", &self.model, model), ("place", &here, site)] {
            if let Some(asked) = asked.filter(|asked| asked != own) {
                let concept = &self.concept;
                let what =
                    format!("\"{concept}\" was made for the {what} {}, not for {}", io::short(own), io::short(asked));
                return Err(Error::setting("vector", what));
            }
        }
        Ok(())
    }

    /// Write `PATH.safetensors`, with the tensor `vector`, and `PATH.json`, which says all the rest.
    ///
    /// # Errors
    /// [`Error::System`]; [`Error::Setting`] for numbers that are not finite.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(value) = self.values.iter().chain([&self.typical]).find(|value| !value.is_finite()) {
            return Err(Error::setting("values", format!("or the typical length hold {value}")));
        }
        let [numbers, beside] = names(path);
        let bytes = format::bytes(&self.values);
        let json = Beside {
            concept: self.concept.clone(),
            method: self.method.clone(),
            site: hook_name(self.site)?,
            width: self.values.len(),
            model: self.model.clone(),
            typical: self.typical,
            sha256: io::sha256(&[&bytes]),
            notes: self.notes.clone(),
        };
        let wrong = |error: &dyn std::fmt::Display| Error::content(&beside, error.to_string());
        let json = serde_json::to_string_pretty(&json).map_err(|error| wrong(&error))?;
        let dims = [self.values.len()];
        let head = format::head(Value::Object(Map::new()), [("vector", format::dtype::<f32>()?, &dims[..])]);
        let all = [head.map_err(Error::system(&numbers, "write"))?, bytes].concat();
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = |path: &Path| path.file_name().map(PathBuf::from).unwrap_or_default();
        if !folder.as_os_str().is_empty() {
            std::fs::create_dir_all(folder).map_err(Error::system(folder, "create"))?;
        }
        io::replace_all(folder, &[(&name(&numbers), &all), (&name(&beside), format!("{json}\n").as_bytes())])
    }

    /// Read what [`save`](Self::save) wrote to `path`.
    ///
    /// # Errors
    /// Files that are missing, unsound, or do not belong together.
    pub fn load(path: &Path) -> Result<Self> {
        let [numbers, beside] = names(path);
        let wrong = |what: String| Error::content(&beside, what);
        let json: Beside =
            serde_json::from_value(io::json::read(&beside)?).map_err(|error| wrong(error.to_string()))?;
        let values = format::Safetensors::open(&numbers)?.read("vector", &[json.width])?;
        if io::sha256(&[&format::bytes(&values)]) != json.sha256 {
            return Err(Error::content(&numbers, "holds another vector than the JSON beside it describes"));
        }
        if !values.iter().chain([&json.typical]).all(|value| value.is_finite()) {
            return Err(Error::content(&numbers, "holds numbers that are not finite"));
        }
        Ok(Self {
            concept: json.concept,
            method: json.method,
            site: site(&json.site).ok_or_else(|| wrong(format!("{} names no place", io::short(&json.site))))?,
            values,
            model: json.model,
            typical: json.typical,
            notes: json.notes,
        })
    }
}

/// The place of this name.
fn site(name: &str) -> Option<Site> {
    const LAYERS: usize = 1 << 12;
    let layer = name.split('.').nth(1)?.parse::<usize>().ok().filter(|&layer| layer < LAYERS)?;
    let found = places(layer + 1, &[name]).ok()?;
    match found[..] {
        [site] if hook_name(site).ok()? == name => Some(site),
        _ => None,
    }
}

fn names(path: &Path) -> [PathBuf; 2] {
    [".safetensors", ".json"].map(|end| {
        let mut name = OsString::from(path);
        name.push(end);
        name.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::lm::Config;

    fn vector(model: &Decoder) -> Vector {
        Vector {
            concept: "form/al".into(),
            method: "difference in means".into(),
            site: Site::residual(1),
            values: (0..32).map(|x| x as f32 - 3.5).collect(),
            model: model.sha256().unwrap(),
            typical: 12.5,
            notes: [("k".to_owned(), Value::from(15))].into_iter().collect(),
        }
    }

    #[test]
    fn what_was_saved_is_read() {
        let model = Decoder::<f32>::random(Config::llama(2, 32, 4, 50, 24), 3, &Device::Host).unwrap();
        let folder = std::env::temp_dir().join(format!("latens-vector-{}", std::process::id()));
        let (path, vector) = (folder.join("v1.5"), vector(&model));
        vector.save(&path).unwrap();
        let names: Vec<String> =
            std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.contains(&"v1.5.json".into()) && names.contains(&"v1.5.safetensors".into()), "{names:?}");
        assert_eq!(Vector::load(&path).unwrap(), vector);
        vector.check(&model).unwrap();
        // Another model of the same sizes, and one of others.
        let other = Decoder::<f32>::random(Config::llama(2, 32, 4, 50, 24), 4, &Device::Host).unwrap();
        let said = vector.check(&other).unwrap_err().to_string();
        assert!(said.contains("was made for the model") && said.contains(&other.sha256().unwrap()), "{said}");
        let wide = Decoder::<f32>::random(Config::llama(2, 48, 4, 50, 24), 3, &Device::Host).unwrap();
        assert!(vector.check(&wide).unwrap_err().to_string().contains("32 wide"));
        // Numbers of one vector beside the words of another.
        let less = Vector { values: vec![1.0; 32], ..vector.clone() };
        less.save(&folder.join("less")).unwrap();
        std::fs::copy(folder.join("less.safetensors"), folder.join("v1.5.safetensors")).unwrap();
        assert!(Vector::load(&path).unwrap_err().to_string().contains("another vector"));
        for (from, to, what) in [
            ("blocks.1.hook_resid_post", "blocks.1.nowhere", "names no place"),
            ("blocks.1.hook_resid_post", "blocks.*.hook_resid_post", "names no place"),
            ("\"width\": 32", "\"width\": 31", "vector"),
            ("\"concept\"", "\"concpt\"", "concept"),
        ] {
            let text = std::fs::read_to_string(folder.join("less.json")).unwrap();
            std::fs::write(folder.join("more.json"), text.replace(from, to)).unwrap();
            std::fs::copy(folder.join("less.safetensors"), folder.join("more.safetensors")).unwrap();
            let said = Vector::load(&folder.join("more")).unwrap_err().to_string();
            assert!(said.contains(what), "{said}");
        }
        assert!(Vector { values: vec![f32::NAN], ..less }.save(&path).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn lengths() {
        let model = Decoder::<f32>::random(Config::llama(2, 32, 4, 50, 24), 3, &Device::Host).unwrap();
        let vector = vector(&model);
        let two = vector.clone().of_length(2.0).unwrap();
        let by = two.values[31] / vector.values[31];
        assert!((two.length() - 2.0).abs() < 1e-6 && (two.values[0] - by * vector.values[0]).abs() < 1e-6);
        assert!(Vector { values: vec![0.0; 4], ..vector.clone() }.of_length(1.0).is_err());
        assert!(vector.of_length(f32::NAN).is_err());
    }
}
