//! The token embedding: a tensor, or rows that stay in the file they came in.

use super::ops::rows;
use super::weights::StoredRows;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// [vocab, hidden]
pub enum Embedding {
    /// The output head is the same matrix, or a GPU looks rows up.
    Tensor(Tensor<2>),
    /// Only the rows of tokens that occur are read, each time they do: of a vocabulary of 151,936 that is little.
    Stored(StoredRows, Device),
}

impl Embedding {
    /// Embeddings [T, hidden] of token ids.
    ///
    /// # Panics
    /// When the weights were removed from the disk or cut while the model is in use.
    pub fn of(&self, ids: &[u32]) -> Tensor<2> {
        let ids: Vec<usize> = ids.iter().map(|&i| i as usize).collect();
        match self {
            Self::Tensor(all) => rows::gather(all, &ids),
            Self::Stored(stored, device) => {
                let read = stored.read(&ids).unwrap_or_else(|error| panic!("{error}"));
                Tensor::from_data(TensorData::new(read, [ids.len(), stored.columns()]), (device, DType::F32))
            }
        }
    }
}
