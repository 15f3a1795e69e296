//! What is known of an answer besides its text, and of the scores of an evaluation that goes on.

use serde::{Deserialize, Serialize};

/// A finished answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub text: String,
    pub finish: Finish,
    /// Tokens of the prompt, and how many of them needed no computation because an earlier prompt began alike.
    pub prompt_tokens: usize,
    pub reused_tokens: usize,
    pub new_tokens: usize,
    /// Seconds from the question to the first token, and to the end.
    pub first_token: f64,
    pub seconds: f64,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended it, or a stop text came.
    #[default]
    Stop,
    /// `max_new_tokens` were written.
    Length,
    /// It was broken off.
    Cancelled,
}

/// How sure the model was of a token: natural logarithms of probabilities, before temperature and penalties.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Odds {
    pub token: String,
    pub logprob: f32,
    /// The likeliest tokens, best first.
    pub top: Vec<(String, f32)>,
}

/// A finished prediction of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Its place among the samples.
    pub index: usize,
    pub id: String,
    /// Names of its pictures, see `data::ImageRef::named`.
    pub images: Vec<String>,
    /// What kind of picture it is, where the reference or a label file tells it.
    #[serde(default)]
    pub group: Option<String>,
    /// The last question, without picture marks.
    pub question: String,
    pub predict: String,
    pub label: String,
    /// Its scores by name, in per cent but for `length_ratio`.
    pub scores: Vec<(String, f64)>,
}

impl Prediction {
    /// A score of it.
    pub fn score(&self, name: &str) -> Option<f64> {
        self.scores.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// How often answers tell one fact of a label file right. Rates are shares of `n`, 0..=1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotRow {
    pub slot: String,
    /// Labels that have this slot.
    pub n: usize,
    pub accuracy: f64,
    /// What the best constant answer reaches: a model that does not look at the picture.
    pub blind: f64,
    /// How often no value is stated, and how often another one or several. Not there for all slots together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_stated: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_stated: Option<f64>,
}

/// A metric of an evaluation so far: its mean, and where the mean of all such samples lies with 95 % certainty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    pub name: String,
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}
