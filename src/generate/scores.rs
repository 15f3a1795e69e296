//! From hidden states to what is known of the next token: all logits, or only the largest few.

use crate::model::ops::rows;
use crate::model::ops::screened::Screened;
use crate::model::qwen3_vl::Qwen3Vl;
use burn::tensor::{DType, Tensor};

/// What is said of the next token of a sequence.
pub enum Scores {
    /// The tokens with the largest logits, and these, the likeliest first.
    Largest(Vec<(u32, f32)>),
    /// The logits [vocab].
    All(Vec<f32>),
}

/// The head of the model, with the copy of it that is read where the largest few logits are enough.
#[derive(Default)]
pub struct Head {
    /// The first scores were given without the copy: its making would keep the first token of an answer waiting.
    begun: bool,
    /// Made when it is wanted; `None` inside where it would not pay.
    screened: Option<Option<Screened>>,
}

impl Head {
    /// Scores for hidden states x [N, hidden] before the final norm; for each how many of the largest logits are enough, if not all
    /// are wanted.
    pub fn scores(&mut self, model: &Qwen3Vl, x: Tensor<2>, enough: &[Option<usize>]) -> Vec<Scores> {
        let x = model.text.final_norm(x);
        let mut scores: Vec<Option<Scores>> = enough.iter().map(|_| None).collect();
        if let Some(most) = enough.iter().flatten().max()
            && std::mem::replace(&mut self.begun, true)
            && let Some(screened) = self.screened.get_or_insert_with(|| model.text.screened())
        {
            let few: Vec<bool> = enough.iter().map(Option::is_some).collect();
            let best = of_rows(&x, &few, true, |x| model.text.largest_logits(screened, x, *most));
            best.into_iter().for_each(|(row, best)| scores[row] = best.map(Scores::Largest));
        }
        let known: Vec<bool> = scores.iter().map(Option::is_some).collect();
        let logits = of_rows(&x, &known, false, |x| host_logits(model, x));
        logits.into_iter().for_each(|(row, logits)| scores[row] = Some(Scores::All(logits)));
        scores.into_iter().flatten().collect()
    }
}

/// What `work` gives for the rows of x whose `flag` is `which`, with their numbers.
fn of_rows<T>(
    x: &Tensor<2>,
    flag: &[bool],
    which: bool,
    work: impl Fn(&Tensor<2>) -> Vec<T>,
) -> Vec<(usize, T)> {
    let wanted: Vec<usize> = (0..flag.len()).filter(|row| flag[*row] == which).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let all = if wanted.len() == flag.len() { work(x) } else { work(&rows::gather(x, &wanted)) };
    wanted.into_iter().zip(all).collect()
}

/// Logits of normed hidden states [N, hidden], on the host, one vector a row.
fn host_logits(model: &Qwen3Vl, x: &Tensor<2>) -> Vec<Vec<f32>> {
    let logits = model.text.logits(x);
    let vocab = logits.dims()[1];
    let all = logits.cast(DType::F32).into_data().try_to_vec::<f32>();
    all.expect("cast to f32").chunks_exact(vocab).map(<[f32]>::to_vec).collect()
}
