//! A BERT into files.
use super::{Encoder, Layer};
use crate::io::{Result, safetensors as format};
use crate::lm::Values;
use crate::lm::save::{piece, type_name};
use crate::lm::weights::{Linear, Norm};
use crate::{Float, Tensor, View};
use std::path::Path;

impl<T: Float> Encoder<T> {
    /// Write `config.json` and `model.safetensors` to `folder`: as [`Decoder::save`](crate::lm::Decoder::save), of a
    /// `BertModel`. What a file that this was read from held beyond the encoder (a pooler, a head) is not kept, and so not written,
    /// nor are keys of its configuration that do not change what is computed, nor its tokenizer: saved over the folder that it
    /// was read from, those are lost.
    ///
    /// # Errors
    /// [`Error::System`](crate::io::Error::System); those of the device that the weights are read from.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.write(folder, None)
    }

    /// The same in files of at most `most` bytes, or of one tensor, and an index.
    ///
    /// # Errors
    /// As [`Encoder::save`].
    pub fn save_sharded(&self, folder: &Path, most: usize) -> Result<()> {
        self.write(folder, Some(most))
    }

    fn write(&self, folder: &Path, most: Option<usize>) -> Result<()> {
        let json = format!("{:#}\n", self.config.to_json(type_name::<T>()));
        let (weights, mut pieces) = (&self.weights, Pieces(Vec::new()));
        pieces.table("word", &weights.words)?;
        pieces.table("position", &weights.places)?;
        pieces.table("token_type", &weights.kinds)?;
        pieces.norm("embeddings.LayerNorm".into(), &weights.norm)?;
        for (at, layer) in weights.layers.iter().enumerate() {
            pieces.layer(at, layer)?;
        }
        format::save(folder, pieces.0, most, &[(Path::new("config.json"), json.as_bytes())])
    }
}

/// What is to be written, under the names that [`load`](super::load) reads.
struct Pieces<'a>(Vec<format::Piece<'a>>);

impl<'a> Pieces<'a> {
    fn table<T: Float>(&mut self, name: &str, of: &'a Tensor<T, 2>) -> Result<()> {
        self.matrix(format!("embeddings.{name}_embeddings.weight"), of.view())
    }

    fn matrix<T: Float>(&mut self, name: String, of: View<'a, T, 2>) -> Result<()> {
        self.0.push(piece(name, of.dims().to_vec(), Values::<T>::Elements(of))?);
        Ok(())
    }

    fn vector<A: Float>(&mut self, name: String, of: View<'a, A, 1>) -> Result<()> {
        let [n] = of.dims();
        self.0.push(piece(name, vec![n], Values::<A>::Elements(of.reshape([1, n])?))?);
        Ok(())
    }

    fn norm<A: Float>(&mut self, name: String, of: &'a Norm<A>) -> Result<()> {
        self.vector(format!("{name}.weight"), of.weight.view())?;
        of.bias.iter().try_for_each(|bias| self.vector(format!("{name}.bias"), bias.view()))
    }

    /// Products of the same input, which lie one above another here.
    fn linear<T: Float>(&mut self, names: &[String], of: &'a Linear<T>) -> Result<()> {
        let rows = of.weight.dims()[0] / names.len();
        for (at, name) in names.iter().enumerate() {
            let (from, to) = (at * rows, (at + 1) * rows);
            self.matrix(format!("{name}.weight"), of.weight.view().narrow(0, from, to)?)?;
            if let Some(bias) = &of.bias {
                self.vector(format!("{name}.bias"), bias.view().narrow(0, from, to)?)?;
            }
        }
        Ok(())
    }

    fn layer<T: Float>(&mut self, at: usize, of: &'a Layer<T>) -> Result<()> {
        let name = |end: &str| format!("encoder.layer.{at}.{end}");
        self.linear(&["query", "key", "value"].map(|of| name(&format!("attention.self.{of}"))), &of.input)?;
        self.linear(&[name("attention.output.dense")], &of.output)?;
        self.norm(name("attention.output.LayerNorm"), &of.attention_norm)?;
        self.linear(&[name("intermediate.dense")], &of.up)?;
        self.linear(&[name("output.dense")], &of.down)?;
        self.norm(name("output.LayerNorm"), &of.mlp_norm)
    }
}
