//! Stop texts in text that comes piece by piece: what may be the start of one is held back.

/// Watches for texts that end an answer.
pub struct Stops {
    texts: Vec<String>,
    held: String,
}

impl Stops {
    /// Empty texts stop nothing.
    pub fn new(texts: &[String]) -> Self {
        Self { texts: texts.iter().filter(|t| !t.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Takes a piece; gives what is surely part of the answer, and whether a stop text has come. What stands behind
    /// a stop text is lost.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        if self.texts.is_empty() {
            return (piece.to_string(), false);
        }
        self.held.push_str(piece);
        if let Some(at) = self.texts.iter().filter_map(|t| self.held.find(t.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let sure = self.held.len() - self.texts.iter().map(|t| overlap(&self.held, t)).max().unwrap_or(0);
        let rest = self.held.split_off(sure);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back when no more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of `text` that `stop` begins with.
fn overlap(text: &str, stop: &str) -> usize {
    let starts = stop.char_indices().map(|(at, _)| at).skip(1);
    starts.filter(|&n| n <= text.len() && text.as_bytes().ends_with(&stop.as_bytes()[..n])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut s = Stops::new(&stops.iter().map(ToString::to_string).collect::<Vec<_>>());
        let mut text = String::new();
        for piece in pieces {
            let (sure, ended) = s.push(piece);
            text += &sure;
            if ended {
                return (text, true);
            }
        }
        (text + &s.finish(), false)
    }

    #[test]
    fn a_stop_text_over_several_pieces_ends_the_answer() {
        assert_eq!(all(&["结束。"], &["肺结节。结", "束", "。更多"]), ("肺结节。".into(), true));
        assert_eq!(all(&["\n\n", "###"], &["a\n", "b##", "# c"]), ("a\nb".into(), true));
        assert_eq!(all(&["###"], &["a##", "b"]), ("a##b".into(), false));
        assert_eq!(all(&["###"], &["a##"]), ("a##".into(), false));
        assert_eq!(all(&[""], &["a"]), ("a".into(), false));
    }

    #[test]
    fn only_what_may_begin_a_stop_is_held() {
        let mut s = Stops::new(&["abc".into()]);
        assert_eq!(s.push("xab"), ("x".into(), false));
        assert_eq!(s.push("ab"), ("ab".into(), false));
        assert_eq!(s.push("cz"), (String::new(), true));
    }
}
